# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C library behind spedge: thin and unchecked but for memory safety.

Use the classes and functions of spedge, spedge.embedding and spedge.evt2, which check their input.
"""
import sys

import numpy as np

from arrays cimport PACKED, memory_of
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from libspedge cimport *

EVENT_DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])

cdef enum:
    CHUNK = 256  # events on the stack between numpy's layout and the library's

if sys.byteorder != "little":
    raise ImportError("spedge needs a little-endian host")
assert EVENT_DTYPE.itemsize == PACKED


def strerror(int code) -> str:
    """The C library's sentence for one of its return codes."""
    return sp_strerror(code).decode()


# ---------------------------------------------------------------- the link's frames

def encode_frame(uint8_t type, uint8_t flags, uint16_t seq, uint32_t session,
                 const uint8_t[::1] payload not None) -> bytes:
    """A frame of firmware/lib/SPEC.md on the wire, with its delimiter."""
    cdef sp_frame_t frame
    cdef uint8_t nothing = 0
    frame.type, frame.flags, frame.seq, frame.session = type, flags, seq, session
    frame.length = payload.shape[0]
    frame.payload = &payload[0] if frame.length else &nothing
    cdef size_t capacity = sp_frame_max_encoded(frame.length)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, capacity)
    cdef int n = sp_frame_encode(&frame, <uint8_t *>PyBytes_AS_STRING(out), capacity)
    if n < 0:
        raise ValueError(strerror(n))
    return out[:n]


# ---------------------------------------------------------------- one event between two layouts

cdef inline void unpack(const uint8_t *record, sp_event_t *event) noexcept nogil:
    memcpy(&event.t, record, 8)
    memcpy(&event.x, record + 8, 2)
    memcpy(&event.y, record + 10, 2)
    event.p = record[12]


cdef inline void pack(const sp_event_t *event, uint8_t *record) noexcept nogil:
    memcpy(record, &event.t, 8)
    memcpy(record + 8, &event.x, 2)
    memcpy(record + 10, &event.y, 2)
    record[12] = event.p


cdef const uint8_t[::1] record_bytes(object events):
    """The bytes of a contiguous EVENT_DTYPE array."""
    if events.dtype != EVENT_DTYPE or events.ndim != 1 or not events.flags.c_contiguous:
        raise TypeError("events must be a contiguous one-dimensional array of spedge.EVENT_DTYPE")
    return events.view(np.uint8) if len(events) else np.zeros(1, np.uint8)


cdef sp_event_t *unpacked(const uint8_t[::1] records, size_t n) except NULL:
    """The events in the library's layout; the caller frees them."""
    cdef sp_event_t *out = <sp_event_t *>malloc((n + 1) * sizeof(sp_event_t))
    cdef size_t i
    if out == NULL:
        raise MemoryError()
    with nogil:
        for i in range(n):
            unpack(&records[i * PACKED], &out[i])
    return out


# ---------------------------------------------------------------- fields of any structured array

cdef struct Column:
    const uint8_t *data
    Py_ssize_t stride


cdef Column column(object array, Py_ssize_t n, int itemsize) except *:
    """Where a field is. The caller keeps the array."""
    cdef Column c
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    fits = view.ndim == 1 and view.itemsize == itemsize and view.shape[0] == n
    c.data = <const uint8_t *>view.buf
    c.stride = view.strides[0]
    PyBuffer_Release(&view)
    if not fits:
        raise TypeError("wrong column")
    return c


def trimmed(records, Py_ssize_t count):
    """The first count records, of EVENT_DTYPE; not kept in a large allocation if they are few."""
    cdef uint8_t *source
    cdef uint8_t *memory
    if 2 * count >= len(records):
        return records[:count]
    fewer = np.empty(count, EVENT_DTYPE)
    if count:
        source, memory = memory_of(records), memory_of(fewer)
        with nogil: # numpy would copy the records field by field
            memcpy(memory, source, PACKED * count)
    return fewer


cdef inline void gather(const Column *c, size_t i, sp_event_t *event) noexcept nogil:
    memcpy(&event.t, c[0].data + <Py_ssize_t>i * c[0].stride, 8)
    memcpy(&event.x, c[1].data + <Py_ssize_t>i * c[1].stride, 2)
    memcpy(&event.y, c[2].data + <Py_ssize_t>i * c[2].stride, 2)
    event.p = c[3].data[<Py_ssize_t>i * c[3].stride]


def check_order(t, x, y, uint64_t last_t, uint32_t width, uint32_t height):
    """Index of the first event that is before its predecessor (or last_t) or outside the sensor; -1 if none.

    t: uint64 or int64 [n] (not negative), x, y: uint16 or int16 [n] (not negative), strides as they come.
    """
    cdef size_t i, n = len(t)
    cdef Column ct = column(t, n, 8), cx = column(x, n, 2), cy = column(y, n, 2)
    cdef uint64_t now
    cdef uint16_t px, py
    cdef Py_ssize_t bad = -1
    with nogil:
        for i in range(n):
            memcpy(&now, ct.data + <Py_ssize_t>i * ct.stride, 8)
            memcpy(&px, cx.data + <Py_ssize_t>i * cx.stride, 2)
            memcpy(&py, cy.data + <Py_ssize_t>i * cy.stride, 2)
            if now < last_t or px >= width or py >= height:
                bad = <Py_ssize_t>i
                break
            last_t = now
    return bad


# ---------------------------------------------------------------- tokenizer

cdef class Tokens:
    """Tokens being collected, in memory that grows."""
    cdef sp_token_t *items
    cdef size_t count, room

    def __dealloc__(self):
        free(self.items)

    cdef int add(self, const sp_token_t *token) noexcept nogil:
        cdef sp_token_t *bigger
        if self.count == self.room:
            self.room = 2 * self.room + 64
            bigger = <sp_token_t *>realloc(self.items, self.room * sizeof(sp_token_t))
            if bigger == NULL:
                return -1
            self.items = bigger
        self.items[self.count] = token[0]
        self.count += 1
        return 0

    cdef tuple arrays(self):
        cdef size_t i
        cdef int64_t at = 0
        x = np.empty(self.count, np.uint16)
        y = np.empty(self.count, np.uint16)
        t = np.empty(self.count, np.uint64)
        offsets = np.zeros(self.count + 1, np.int64)
        cdef uint16_t[::1] xs = x, ys = y
        cdef uint64_t[::1] ts = t
        cdef int64_t[::1] ends = offsets
        for i in range(self.count):
            xs[i] = self.items[i].x
            ys[i] = self.items[i].y
            ts[i] = self.items[i].t
            at += self.items[i].n
            ends[i + 1] = at
        return x, y, t, offsets


cdef class Tokenizer:
    """sp_tokenizer_t. kind: SP_KIND_*."""
    cdef sp_tokenizer_t *tok
    cdef void *mem
    cdef bint busy
    cdef bint alone  # voxels: each push is a stream
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
            raise ValueError(strerror(rc))

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

    cdef uint8_t *run(self, const Column *columns, size_t n, Tokens tokens, uint8_t *out) noexcept nogil:
        """Push n events, and end the stream where each push stands alone.

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
                    if tokens.add(sp_tokenizer_token(self.tok)) != 0:
                        return NULL
                    out = self.read_events(out)
        if self.alone:
            while sp_tokenizer_end(self.tok) == SP_TOKEN:
                if tokens.add(sp_tokenizer_token(self.tok)) != 0:
                    return NULL
                out = self.read_events(out)
        return out

    def push(self, t, x, y, p):
        """Push events that were checked (check_order). Returns x, y, t, offsets, events of the tokens fired.

        t: uint64 or int64 [n], x, y: uint16 or int16 [n], p: uint8 or bool [n], 0 or 1.
        """
        cdef size_t n = len(t)
        cdef Column columns[4]
        columns[0] = column(t, n, 8)
        columns[1] = column(x, n, 2)
        columns[2] = column(y, n, 2)
        columns[3] = column(p, n, 1)
        self.claim()
        cdef Tokens tokens = Tokens()
        cdef uint8_t *out
        cdef uint8_t *end
        try:
            # No more events can come out than wait and go in. The pages behind what comes out are never touched.
            self.waiting = min(self.waiting, <uint64_t>sp_tokenizer_config(self.tok).pool_events) + n
            records = np.empty(self.waiting + 1, EVENT_DTYPE)
            out = memory_of(records)
            with nogil:
                end = self.run(columns, n, tokens, out)
            if end == NULL:
                raise MemoryError("no memory for the tokens; reset the tokenizer before going on")
        finally:
            self.busy = False
        if n and not self.alone:
            self.last_t = int(t[n - 1])
        x, y, t, offsets = tokens.arrays()
        count = int(offsets[len(x)])
        self.waiting = 0 if self.alone else self.waiting - count
        return x, y, t, offsets, trimmed(records, count)

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


# ---------------------------------------------------------------- embedding

cdef sp_embed_config_t embed_config(uint16_t patch_size, uint16_t hidden, uint8_t buckets) except *:
    cdef sp_embed_config_t config
    config.patch_size = patch_size
    config.hidden = hidden
    config.buckets = buckets
    config.time_scale_us = 0
    config.weight = NULL
    config.bias = NULL
    if patch_size == 0 or buckets == 0 or sp_embed_config_check(&config, &config) != SP_OK:
        raise ValueError("the embedding's configuration is out of range")
    return config


cdef int check_offsets(const int64_t[::1] offsets, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    if offsets.shape[0] < 1 or offsets[0] != 0 or offsets[offsets.shape[0] - 1] != n:
        raise ValueError("offsets do not span the events")
    for i in range(offsets.shape[0] - 1):
        if offsets[i + 1] < offsets[i]:
            raise ValueError("offsets go backwards")
    return 0


def volumes(events, const int64_t[::1] offsets not None, uint16_t patch_size, uint8_t buckets):
    """Log-time volumes, uint16 [tokens, 2, buckets, patch_size, patch_size]."""
    cdef const uint8_t[::1] records = record_bytes(events)
    cdef sp_embed_config_t config = embed_config(patch_size, 3, buckets)
    check_offsets(offsets, len(events))
    cdef Py_ssize_t i, n = offsets.shape[0] - 1
    out = np.empty((n, sp_embed_cells(&config)), np.uint16)
    cdef uint16_t[:, ::1] rows = out
    cdef sp_event_t *all_events = unpacked(records, len(events))
    with nogil:
        for i in range(n):
            sp_embed_volume(&config, all_events + offsets[i], <size_t>(offsets[i + 1] - offsets[i]), &rows[i, 0])
    free(all_events)
    return out.reshape(n, 2, buckets, patch_size, patch_size)


def cells(events, const int64_t[::1] offsets not None, uint16_t patch_size, uint8_t buckets):
    """Non-empty cells of the volumes: numbers uint32 [m], counts uint16 [m], and bounds int64 [tokens + 1] in them."""
    cdef const uint8_t[::1] records = record_bytes(events)
    cdef sp_embed_config_t config = embed_config(patch_size, 3, buckets)
    check_offsets(offsets, len(events))
    cdef Py_ssize_t i, found = 0, n = offsets.shape[0] - 1
    most = max(len(events), 1)
    numbers, counts, bounds = np.empty(most, np.uint32), np.empty(most, np.uint16), np.zeros(n + 1, np.int64)
    cdef uint32_t[::1] numbers_view = numbers
    cdef uint16_t[::1] counts_view = counts
    cdef int64_t[::1] bounds_view = bounds
    cdef sp_event_t *all_events = unpacked(records, len(events))
    cdef void *scratch = calloc(sp_embed_scratch_size(&config), 1)
    if scratch == NULL:
        free(all_events)
        raise MemoryError()
    with nogil:
        for i in range(n):
            if offsets[i + 1] > offsets[i]:
                found += <Py_ssize_t>sp_embed_sparse(&config, all_events + offsets[i],
                                                     <size_t>(offsets[i + 1] - offsets[i]), scratch,
                                                     &numbers_view[found], &counts_view[found])
            bounds_view[i + 1] = found
    free(scratch)
    free(all_events)
    return numbers[:found], counts[:found], bounds


def embed(events, const int64_t[::1] offsets not None, const float[:, ::1] weight not None,
          const float[::1] bias not None, uint16_t patch_size, uint8_t buckets):
    """Token embeddings, float32 [tokens, hidden]; weight is float32 [cells, hidden]."""
    cdef const uint8_t[::1] records = record_bytes(events)
    cdef sp_embed_config_t config = embed_config(patch_size, <uint16_t>bias.shape[0], buckets)
    check_offsets(offsets, len(events))
    if weight.shape[0] != <Py_ssize_t>sp_embed_cells(&config) or weight.shape[1] != bias.shape[0]:
        raise ValueError("weight and bias do not fit the patch size and buckets")
    config.weight = &weight[0, 0]
    config.bias = &bias[0]
    cdef Py_ssize_t i, n = offsets.shape[0] - 1
    out = np.empty((n, bias.shape[0]), np.float32)
    cdef float[:, ::1] rows = out
    cdef size_t scratch_size = sp_embed_scratch_size(&config)
    cdef sp_event_t *all_events = unpacked(records, len(events))
    cdef void *scratch = calloc(scratch_size, 1)
    if scratch == NULL:
        free(all_events)
        raise MemoryError()
    with nogil:
        for i in range(n):
            sp_embed_events(&config, all_events + offsets[i], <size_t>(offsets[i + 1] - offsets[i]), scratch,
                            scratch_size, &rows[i, 0])
    free(scratch)
    free(all_events)
    return out


def positions(const uint64_t[::1] x not None, const uint64_t[::1] y not None, const uint64_t[::1] t not None,
              uint16_t hidden, float time_scale):
    """Position embeddings, float32 [n, hidden], of patch columns, patch rows and times in µs, uint64 [n]."""
    cdef uint16_t xy, ts
    cdef Py_ssize_t i, n = x.shape[0]
    if hidden < 3 or y.shape[0] != n or t.shape[0] != n:
        raise ValueError("positions need coordinates of one length and at least 3 features")
    sp_embed_position_sizes(hidden, &xy, &ts)
    out = np.zeros((n, hidden), np.float32)
    cdef float[:, ::1] rows = out
    cdef uint64_t[::1] xy_steps = np.empty((xy + 1) // 2, np.uint64), t_steps = np.empty((ts + 1) // 2, np.uint64)
    sp_embed_position_steps(xy, 1.0, &xy_steps[0])
    sp_embed_position_steps(ts, time_scale, &t_steps[0])
    with nogil:
        for i in range(n):
            sp_embed_position_add(&rows[i, 0], xy, &xy_steps[0], x[i])
            sp_embed_position_add(&rows[i, xy], xy, &xy_steps[0], y[i])
            sp_embed_position_add(&rows[i, 2 * xy], ts, &t_steps[0], t[i])
    return out
