# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C decoders of camera formats behind spedge.decoders, and Event Stream files.

Thin and unchecked but for memory safety.
"""
import numpy as np

from arrays cimport PACKED, memory_of, pack
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libspedge cimport SP_MORE, SP_OK, sp_event_t

from spedge._events import EVENT_DTYPE, trimmed

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
    CHUNK = 1024  # events between the library's layout and numpy's


cdef class Records:
    """EVENT_DTYPE records being collected, in an array that grows. There is always room for one more than asked for."""
    cdef object array
    cdef uint8_t *data
    cdef size_t count, room

    def __cinit__(self, size_t room):
        self.room = room + 1
        self.array = np.empty(self.room, EVENT_DTYPE)
        self.data = memory_of(self.array)

    cdef int reserve(self, size_t more) except -1:
        if self.count + more + 1 > self.room:
            self.room = 2 * self.room + more + 1
            self.array.resize(self.room, refcheck=False)
            self.data = memory_of(self.array)
        return 0

    cdef object taken(self):
        return trimmed(self.array, self.count)


cdef class Decoder:
    """sp_decoder_t. The GIL stays held, so that no other thread can enter it."""
    cdef sp_decoder_t decoder
    cdef sp_event_t *chunk
    cdef double density  # events in a byte of the last piece: how much room the next one is given

    def __cinit__(self, uint8_t format, uint16_t width, uint16_t height, bint invert_polarity):
        cdef sp_decoder_config_t config
        config.format = format
        config.width = width
        config.height = height
        config.invert_polarity = invert_polarity
        self.density = 0.25
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
        cdef Records records = Records(<size_t>(1.1 * self.density * n) + 64)
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
        self.density = <double>records.count / n
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
    counted. Color events have no polarity and get 1. drop: events outside the sensor are left out and counted, too.
    """
    cdef uint64_t t
    cdef uint8_t record[7]  # the bytes of the event so far
    cdef readonly uint8_t held  # how many
    cdef uint8_t kind, size
    cdef uint16_t width, height
    cdef bint drop
    cdef readonly uint64_t consumed, exposures, outside
    cdef readonly bint damaged  # the event that ends before `consumed` is outside the sensor: nothing more comes

    def __cinit__(self, uint8_t kind, uint16_t width, uint16_t height, bint drop=False):
        if kind not in (DVS, ATIS, COLOR):
            raise ValueError("unknown kind of event stream")
        self.kind = kind
        self.size = 8 if kind == COLOR else 5
        self.width = width
        self.height = height
        self.drop = drop

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
                    self.outside += 1
                    self.damaged = not self.drop
                elif self.kind == ATIS and first & 1:
                    self.exposures += 1
                else:
                    event.y = self.height - 1 - event.y
                    pack(&event, records.data + PACKED * records.count)
                    records.count += 1
        return records.taken()


# ---------------------------------------------------------------- ECF, the codec of Prophesee's HDF5 files

cdef enum:
    MOST_ECF = 65535  # events in a block


cdef class Block:
    """A compressed block that is read from front to back; `short` once it was read beyond its end."""
    cdef const uint8_t[::1] data
    cdef size_t at, n
    cdef bint short

    cdef inline uint64_t take(self, size_t size) noexcept nogil:
        """The next little-endian number."""
        cdef uint64_t value = 0
        cdef size_t i
        if self.n - self.at < size:
            self.short = True
            self.at = self.n
            return 0
        for i in range(size):
            value |= <uint64_t>self.data[self.at + i] << (8 * i)
        self.at += size
        return value


cdef void ecf_times(Block block, sp_event_t *out, size_t n) noexcept nogil:
    """Runs of equal times: a byte of 4 bits difference and 4 bits count; 15 means that more follows."""
    cdef uint64_t t = block.take(8), difference
    cdef uint32_t byte, count, shift
    cdef size_t i = 0
    while i < n and not block.short:
        byte = <uint32_t>block.take(1)
        if byte >> 4 != 15:
            t += byte >> 4
            count = byte & 15
            if count == 15:
                count = <uint32_t>block.take(2)
            while count and i < n:
                out[i].t = t
                i += 1
                count -= 1
        else:
            difference, shift = 0, 0
            while byte >> 4 == 15 and shift < 64 and not block.short:
                difference |= <uint64_t>(byte & 15) << shift
                shift += 4
                byte = <uint32_t>block.take(1)
            t += difference
            block.at -= not block.short  # the byte after them starts a run


cdef void ecf_rows(Block block, sp_event_t *out, size_t n) noexcept nogil:
    """Runs of equal rows: 11 bits row and 5 bits count; 31 means that the count follows."""
    cdef uint32_t word, count
    cdef size_t i = 0
    while i < n and not block.short:
        word = <uint32_t>block.take(2)
        count = word & 31
        if count == 31:
            count = <uint32_t>block.take(2)
        while count and i < n:
            out[i].y = word >> 5
            i += 1
            count -= 1


cdef void ecf_columns(Block block, sp_event_t *out, size_t n) noexcept nogil:
    """A column, and a mask of those of the next five that follow."""
    cdef uint32_t word, k
    cdef size_t i = 0
    while i < n and not block.short:
        word = <uint32_t>block.take(2)
        out[i].x = word >> 5
        i += 1
        for k in range(5):
            if word >> (4 - k) & 1 and i < n:
                out[i].x = (word >> 5) + k + 1
                i += 1


cdef void ecf_polarities(Block block, sp_event_t *out, size_t n) noexcept nogil:
    """Runs of equal polarities: a bit and 7 bits count; 127 means that the count follows."""
    cdef uint32_t byte, count
    cdef size_t i = 0
    while i < n and not block.short:
        byte = <uint32_t>block.take(1)
        count = byte & 127
        if count == 127:
            count = <uint32_t>block.take(2)
        while count and i < n:
            out[i].p = byte >> 7
            i += 1
            count -= 1


cdef void ecf_packed(Block block, sp_event_t *out, size_t n, bint rows) noexcept nogil:
    """Four events in three words: 12 bits column and polarity each, or 24 with the row before them."""
    cdef uint32_t a, b, c, k
    cdef uint32_t four[4]
    cdef size_t i = 0
    while i < n and not block.short:
        if rows:
            a, b, c = <uint32_t>block.take(4), <uint32_t>block.take(4), <uint32_t>block.take(4)
            four[0], four[1] = a >> 8, (a & 0xFF) | (b >> 16) << 8
            four[2], four[3] = (b & 0xFFFF) | (c >> 24) << 16, c & 0xFFFFFF
        else:
            a, b, c = <uint32_t>block.take(2), <uint32_t>block.take(2), <uint32_t>block.take(2)
            four[0], four[1] = a >> 4, (a & 15) | (b >> 8) << 4
            four[2], four[3] = (b & 0xFF) | (c >> 12) << 8, c & 0xFFF
        for k in range(4):
            if i < n:
                if rows:
                    out[i].y = four[k] >> 12 & 0x7FF
                out[i].x = four[k] >> 1 & 0x7FF
                out[i].p = four[k] & 1
                i += 1


def ecf_decode(const uint8_t[::1] data not None):
    """Events of a block as an EVENT_DTYPE array. Raises ValueError when it is damaged."""
    cdef Block block = Block()
    cdef size_t n, i
    cdef uint32_t head
    cdef sp_event_t *events
    block.data, block.n = data, data.shape[0]
    head = <uint32_t>block.take(4)
    n = head >> 2
    if block.short or n > MOST_ECF:
        raise ValueError("its ECF header is damaged")
    cdef Records records = Records(n)
    events = <sp_event_t *>malloc((n + 1) * sizeof(sp_event_t))
    if events == NULL:
        raise MemoryError()
    with nogil:
        for i in range(n):
            events[i].x = events[i].y = events[i].p = 0
            events[i].t = 0
        ecf_times(block, events, n)
        if head & 2:
            ecf_packed(block, events, n, True)
        else:
            ecf_rows(block, events, n)
            if head & 1:
                ecf_packed(block, events, n, False)
            else:
                ecf_columns(block, events, n)
                ecf_polarities(block, events, n)
        for i in range(n):
            pack(&events[i], records.data + PACKED * i)
    free(events)
    records.count = n
    if block.short:
        raise ValueError(f"its ECF data ends early, after {block.n} bytes")
    return records.taken()
