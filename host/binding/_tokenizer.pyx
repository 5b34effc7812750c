# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The library's tokenizer, as devices run it (tokenizer.h).

Use spedge.Tokenizer, which checks its parameters and its input.
"""
import numpy as np

from arrays cimport PACKED, Column, column, gather, memory_of, pack, sp_token_list_add, sp_token_list_t, token_arrays
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from libspedge cimport *

from spedge._events import EVENT_DTYPE, trimmed

cdef enum:
    CHUNK = 256  # events on the stack between numpy's layout and the library's


cdef class Tokenizer:
    """sp_tokenizer_t. kind: SP_KIND_*."""
    cdef sp_tokenizer_t *tok
    cdef void *mem
    cdef bint busy
    cdef bint alone  # voxels: each push is a stream, unless it says otherwise
    cdef uint64_t waiting  # no more events are pending
    cdef readonly uint64_t last_t

    def __cinit__(self, uint16_t width, uint16_t height, uint16_t patch_size, double threshold,
                  uint64_t absolute_refractory_us, uint64_t relative_refractory_us, double relative_scale,
                  double decay_per_us, uint32_t pool_events, uint8_t kind, uint64_t duration_us):
        cdef sp_tokenizer_config_t config
        config.kind = kind
        config.duration_us = duration_us
        config.width = width
        config.height = height
        config.patch_size = patch_size
        config.threshold = threshold
        config.absolute_refractory_us = absolute_refractory_us
        config.relative_refractory_us = relative_refractory_us
        config.relative_scale = relative_scale
        config.decay_per_us = decay_per_us
        config.pool_events = pool_events
        config.pool_policy = SP_POOL_EVICTS
        self.alone = kind == SP_KIND_VOXEL
        cdef size_t size = sp_tokenizer_size(&config)
        cdef int rc
        if size == 0:
            raise ValueError("the tokenizer's configuration is out of range")
        self.mem = malloc(size)
        if self.mem == NULL:
            raise MemoryError(f"no memory for a tokenizer of {size} bytes")
        rc = sp_tokenizer_init(&self.tok, &config, self.mem, size)
        if rc != SP_OK:
            raise ValueError(sp_strerror(rc).decode())

    def __dealloc__(self):
        free(self.mem)

    cdef int claim(self) except -1:
        if self.busy:
            raise RuntimeError("this tokenizer is being used by another thread")
        self.busy = True
        return 0

    cdef uint8_t *read_events(self, uint8_t *out) noexcept nogil:
        cdef sp_event_t events[CHUNK]
        cdef sp_token_cursor_t cursor
        cdef size_t got, i
        sp_token_cursor_init(&cursor, self.tok)
        while True:
            got = sp_token_cursor_read(&cursor, events, CHUNK)
            if got == 0:
                return out
            for i in range(got):
                pack(&events[i], out)
                out += PACKED

    cdef uint8_t *run(
        self, const Column *columns, size_t n, bint ends, sp_token_list_t *tokens, uint8_t *out
    ) noexcept nogil:
        """Push n events, and end the stream.

        Returns the end of what was written to out, or NULL without memory.
        """
        cdef sp_event_t events[CHUNK]
        cdef size_t at = 0, filled, i, used
        cdef int rc
        while at < n:
            filled = min(n - at, <size_t>CHUNK)
            for i in range(filled):
                gather(columns, at + i, &events[i])
            at += filled
            i = 0
            while i < filled:
                rc = sp_tokenizer_push(self.tok, &events[i], filled - i, &used)
                i += used
                if rc == SP_TOKEN:
                    if sp_token_list_add(tokens, sp_tokenizer_token(self.tok)[0]) != 0:
                        return NULL
                    out = self.read_events(out)
        if ends:
            while sp_tokenizer_end(self.tok) == SP_TOKEN:
                if sp_token_list_add(tokens, sp_tokenizer_token(self.tok)[0]) != 0:
                    return NULL
                out = self.read_events(out)
        return out

    def push(self, t, x, y, p, bint end=True):
        """Push events that were checked (check_order). Returns x, y, t, offsets, events of the tokens fired.

        end: of voxels, whether they are a stream of their own.

        t: uint64 or int64 [n], x, y: uint16 or int16 [n], p: uint8 or bool [n], 0 or 1.
        """
        cdef size_t n = len(t)
        cdef Column columns[4]
        columns[0] = column(t, n, 8)
        columns[1] = column(x, n, 2)
        columns[2] = column(y, n, 2)
        columns[3] = column(p, n, 1)
        self.claim()
        cdef sp_token_list_t tokens
        cdef uint8_t *out
        tokens.items, tokens.count, tokens.room = NULL, 0, 0
        cdef uint8_t *filled
        cdef bint ends = self.alone and end
        try:
            # No more events can come out than wait and go in. The pages behind what comes out are never touched.
            self.waiting = min(self.waiting, <uint64_t>sp_tokenizer_config(self.tok).pool_events) + n
            records = np.empty(self.waiting + 1, EVENT_DTYPE)
            out = memory_of(records)
            with nogil:
                filled = self.run(columns, n, ends, &tokens, out)
            if filled == NULL:
                raise MemoryError("no memory for the tokens; reset the tokenizer before going on")
            fired = token_arrays(&tokens, np)
        finally:
            free(tokens.items)
            self.busy = False
        if n and not ends:
            self.last_t = int(t[n - 1])
        count = (filled - out) // PACKED
        self.waiting = 0 if ends else self.waiting - count
        return *fired, trimmed(records, count)

    def reset(self):
        self.claim()
        sp_tokenizer_reset(self.tok)
        self.last_t = 0
        self.waiting = 0
        self.busy = False

    def stats(self) -> dict:
        cdef sp_tokenizer_stats_t s
        self.claim()
        sp_tokenizer_stats(self.tok, &s)
        self.busy = False
        return {"taken": s.taken, "in_tokens": s.in_tokens, "pending": s.pending, "refractory": s.refractory,
                "decayed": s.decayed, "pool_lost": s.pool_lost, "outside": s.outside, "backwards": s.backwards,
                "tokens": s.tokens, "pool_used": s.pool_used, "pool_peak": s.pool_peak}


def tokenizer_size(uint16_t width, uint16_t height, uint16_t patch_size, double threshold,
                   uint64_t absolute_refractory_us, uint32_t pool_events) -> int:
    """Bytes that a continuous tokenizer takes on a 64-bit host; 0 if the configuration is out of range."""
    cdef sp_tokenizer_config_t config
    memset(&config, 0, sizeof(config))
    config.width = width
    config.height = height
    config.patch_size = patch_size
    config.threshold = threshold
    config.absolute_refractory_us = absolute_refractory_us
    config.pool_events = pool_events
    return sp_tokenizer_size(&config)
