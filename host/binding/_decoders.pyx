# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C decoders of camera formats behind spedge.decoders, and Event Stream files.

Thin and unchecked but for memory safety.
"""
import numpy as np

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from libspedge cimport SP_MORE, SP_OK, sp_event_t

from spedge._native import EVENT_DTYPE

cdef extern from "spedge/decode.h" nogil:
    ctypedef struct sp_decode_stats_t:
        uint64_t words, events, times, triggers, other, unknown, untimed
        uint64_t addresses, vectors, vector_events, outside, clipped, skipped
    ctypedef struct sp_decoder_config_t:
        uint16_t width, height
        uint8_t format, invert_polarity
    ctypedef struct sp_decoder_t:
        uint8_t partial_bytes
        sp_decoder_config_t config
        sp_decode_stats_t stats
    int sp_decoder_init(sp_decoder_t *d, const sp_decoder_config_t *config)
    int sp_decoder_decode(sp_decoder_t *d, const uint8_t *data, size_t n, size_t *used,
                          sp_event_t *out, size_t capacity, size_t *got)
    void sp_decoder_set_time(sp_decoder_t *d, uint64_t t)

cdef enum:
    PACKED = 13  # bytes of an EVENT_DTYPE record
    CHUNK = 2048  # events between the library's layout and numpy's

assert EVENT_DTYPE.itemsize == PACKED


# The first 13 bytes of sp_event_t are a record. All 16 are copied, in one go: the rest is overwritten by the next record,
# or lies in the room that Records keeps after the last one.
assert sizeof(sp_event_t) == 16
assert [EVENT_DTYPE.fields[name][1] for name in "txyp"] == [0, 8, 10, 12]


cdef inline void pack(const sp_event_t *event, uint8_t *record) noexcept nogil:
    memcpy(record, event, sizeof(sp_event_t))


cdef class Records:
    """EVENT_DTYPE records being collected, in an array that grows. There is always room for one more than asked for."""
    cdef object array
    cdef uint8_t *data
    cdef size_t count, room

    def __cinit__(self, size_t room):
        self.room = room + 1
        self.array = np.empty(self.room, EVENT_DTYPE)
        self.data = <uint8_t *><size_t>self.array.__array_interface__["data"][0]

    cdef int reserve(self, size_t more) except -1:
        if self.count + more + 1 > self.room:
            self.room = 2 * self.room + more + 1
            self.array.resize(self.room, refcheck=False)
            self.data = <uint8_t *><size_t>self.array.__array_interface__["data"][0]
        return 0

    cdef object taken(self):
        # Do not keep a large allocation alive for a few events.
        if 2 * self.count < self.room:
            return self.array[:self.count].copy()
        return self.array[:self.count]


cdef class Decoder:
    """sp_decoder_t. The GIL stays held, so that no other thread can enter it."""
    cdef sp_decoder_t decoder
    cdef sp_event_t *chunk

    def __cinit__(self, uint8_t format, uint16_t width, uint16_t height, bint invert_polarity):
        cdef sp_decoder_config_t config
        config.format = format
        config.width = width
        config.height = height
        config.invert_polarity = invert_polarity
        self.chunk = <sp_event_t *>malloc(CHUNK * sizeof(sp_event_t))
        if self.chunk == NULL:
            raise MemoryError()
        if sp_decoder_init(&self.decoder, &config) != SP_OK:
            raise ValueError("unknown format")

    def __dealloc__(self):
        free(self.chunk)

    def reset(self):
        cdef sp_decoder_config_t config = self.decoder.config
        sp_decoder_init(&self.decoder, &config)

    def copy(self) -> Decoder:
        cdef Decoder other = Decoder(self.decoder.config.format, 0, 0, False)
        other.decoder = self.decoder
        return other

    def set_time(self, uint64_t t):
        sp_decoder_set_time(&self.decoder, t)

    @property
    def partial_bytes(self) -> int:
        return self.decoder.partial_bytes

    def feed(self, const uint8_t[::1] data not None):
        """Events of these bytes as an EVENT_DTYPE array."""
        cdef size_t n = data.shape[0], at = 0, used = 0, got = 0, i
        cdef int rc = SP_MORE
        cdef Records records = Records(n // 3 + 64)
        cdef uint8_t *end
        if n == 0:
            return records.taken()
        while rc == SP_MORE:
            rc = sp_decoder_decode(&self.decoder, &data[0] + at, n - at, &used, self.chunk, CHUNK, &got)
            at += used
            records.reserve(got)
            with nogil:
                end = records.data + PACKED * records.count
                for i in range(got):
                    pack(&self.chunk[i], end)
                    end += PACKED
            records.count += got
        return records.taken()

    def stats(self) -> dict:
        return self.decoder.stats


# ---------------------------------------------------------------- Event Stream files

cdef enum:
    DVS = 1
    ATIS = 2
    COLOR = 4


cdef class EventStreamDecoder:
    """The bytes after the header of a DVS (1), ATIS (2) or color (4) Event Stream, cut anywhere.

    The y axis of the file points up; rows here count from the top. ATIS exposure measurements are left out and
    counted. Color events have no polarity and get 1.
    """
    cdef uint64_t t
    cdef uint8_t record[7]  # the bytes of the event so far
    cdef readonly uint8_t held  # how many
    cdef uint8_t kind, size
    cdef uint16_t width, height
    cdef readonly uint64_t consumed, exposures
    cdef readonly bint damaged  # the event that ends before `consumed` is outside the sensor: nothing more comes

    def __cinit__(self, uint8_t kind, uint16_t width, uint16_t height):
        if kind not in (DVS, ATIS, COLOR):
            raise ValueError("unknown kind of event stream")
        self.kind = kind
        self.size = 8 if kind == COLOR else 5
        self.width = width
        self.height = height

    cdef int idle(self, uint8_t byte) noexcept nogil:
        """Take a byte between events; 1 if it starts one."""
        if self.kind == ATIS:
            if byte & 0xFC == 0xFC:
                self.t += 63 * (byte & 3)
                return 0
            self.t += byte >> 2
        else:
            if byte == 0xFF:
                self.t += 127 if self.kind == DVS else 254
                return 0
            if byte == 0xFE:
                return 0
            self.t += byte >> 1 if self.kind == DVS else byte
        return 1

    def feed(self, const uint8_t[::1] data not None):
        """Events of these bytes as an EVENT_DTYPE array."""
        cdef size_t n = data.shape[0], i
        cdef sp_event_t event
        cdef uint8_t first
        cdef Records records = Records((n + self.held) // self.size + 1)
        with nogil:
            for i in range(n):
                if self.damaged:
                    break
                self.consumed += 1
                if self.held == 0:
                    if not self.idle(data[i]):
                        continue
                if self.held < 7:
                    self.record[self.held] = data[i]
                self.held += 1
                if self.held < self.size:
                    continue
                self.held = 0
                first = self.record[0]
                event.t = self.t
                event.x = self.record[1] | <uint16_t>(self.record[2] << 8)
                event.y = self.record[3] | <uint16_t>(self.record[4] << 8)
                event.p = 1 if self.kind == COLOR else (first & 1 if self.kind == DVS else first >> 1 & 1)
                if event.x >= self.width or event.y >= self.height:
                    self.damaged = True
                elif self.kind == ATIS and first & 1:
                    self.exposures += 1
                else:
                    event.y = self.height - 1 - event.y
                    pack(&event, records.data + PACKED * records.count)
                    records.count += 1
        return records.taken()
