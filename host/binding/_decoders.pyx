# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C decoders of camera formats behind spedge.decoders.

Thin and unchecked but for memory safety.
"""
import numpy as np

from arrays cimport PACKED, memory_of, pack
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
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
        uint64_t time
        uint8_t known
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

    def state(self) -> bytes:
        """The struct, without its counts."""
        cdef sp_decoder_t copy = self.decoder
        memset(&copy.stats, 0, sizeof(copy.stats))
        return (<const char *>&copy)[:sizeof(copy)]

    def restore(self, bytes state):
        cdef sp_decoder_config_t config = self.decoder.config
        if len(state) != sizeof(sp_decoder_t):
            raise ValueError("not the state of a decoder")
        memcpy(&self.decoder, <const char *>state, sizeof(sp_decoder_t))
        self.decoder.config = config
        if self.decoder.partial_bytes > 7:
            sp_decoder_init(&self.decoder, &config)
            raise ValueError("not the state of a decoder")

    def set_time(self, uint64_t t):
        sp_decoder_set_time(&self.decoder, t)

    @property
    def time(self) -> int:
        return self.decoder.time

    @property
    def timed(self) -> bool:
        return self.decoder.known & 1 != 0  # KNOWN_TIME of decode_words.h

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
