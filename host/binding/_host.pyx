# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The host's own tokenizers (host_tokenizer.h): unbounded memory, whole arrays in, flat tokens out.

Use spedge.Tokenizer, which checks its parameters and says what is wrong with its input.
"""
import numpy as np

from arrays cimport PACKED, memory_of, sp_token_list_t, token_arrays
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from spedge._events import EVENT_DTYPE, trimmed

cdef extern from "host_tokenizer.h" nogil:
    ctypedef struct sp_columns_t:
        const uint8_t *t
        const uint8_t *x
        const uint8_t *y
        const uint8_t *p
        Py_ssize_t t_stride, x_stride, y_stride, p_stride
        uint8_t t_signed, x_signed, y_signed, p_signed, p_bytes
    ctypedef struct sp_host_config_t:
        uint32_t width, height, patch_size
        uint8_t discrete
        double threshold
        uint64_t absolute_refractory_us, relative_refractory_us
        double relative_scale, decay_per_us
        uint64_t duration_us
    ctypedef struct sp_host_stats_t:
        uint64_t taken, in_tokens, refractory, discarded, tokens, pending_peak
    ctypedef struct sp_host_t:
        pass
    sp_host_t *sp_host_new(const sp_host_config_t *config)
    void sp_host_free(sp_host_t *h)
    void sp_host_reset(sp_host_t *h)
    uint8_t *sp_host_push(sp_host_t *h, const sp_columns_t *events, size_t n, uint64_t last_t, size_t *good,
                          sp_token_list_t *tokens, uint8_t *out)
    uint64_t sp_host_pending(const sp_host_t *h)
    sp_host_stats_t sp_host_stats(const sp_host_t *h)
    ctypedef struct sp_voxel_config_t:
        uint32_t width, height, patch_size, threshold
        uint64_t duration_us
    uint8_t *sp_voxel_tokens(const sp_voxel_config_t *config, const sp_columns_t *events, size_t n, size_t *good,
                             sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded)


cdef struct Field:
    const uint8_t *data
    Py_ssize_t stride, n, size
    bint is_signed


cdef Field field(object array) except *:
    """A column of whole numbers or bools, in place. The caller keeps the array."""
    cdef Field f
    cdef Py_buffer view
    cdef char kind
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    kind = c"B" if view.format == NULL else view.format[0]
    if kind in (c"=", c"<", c"^", c"@"):
        kind = view.format[1]
    good = view.ndim == 1 and kind in (c"b", c"h", c"i", c"l", c"q", c"B", c"H", c"I", c"L", c"Q", c"?")
    f.is_signed = kind in (c"b", c"h", c"i", c"l", c"q")
    f.data = <const uint8_t *>view.buf
    f.stride = view.strides[0] if good else 0
    f.n = view.shape[0] if good else -1
    f.size = view.itemsize
    PyBuffer_Release(&view)
    if not good:
        raise TypeError("a column has to be one-dimensional and of whole numbers in native byte order")
    return f


cdef Py_ssize_t take_columns(sp_columns_t *c, object t, object x, object y, object p) except -1:
    """The fields of n events in place. Returns n."""
    cdef Field ft = field(t), fx = field(x), fy = field(y), fp = field(p)
    if ft.size != 8 or fx.size != 2 or fy.size != 2 or fp.size > 2 or not ft.n == fx.n == fy.n == fp.n:
        raise TypeError("columns of wrong sizes")
    c.t, c.x, c.y, c.p = ft.data, fx.data, fy.data, fp.data
    c.t_stride, c.x_stride, c.y_stride, c.p_stride = ft.stride, fx.stride, fy.stride, fp.stride
    c.t_signed, c.x_signed, c.y_signed, c.p_signed = ft.is_signed, fx.is_signed, fy.is_signed, fp.is_signed
    c.p_bytes = <uint8_t>fp.size
    return ft.n


cdef Py_ssize_t take_records(sp_columns_t *c, object events) except -1:
    """The same of an EVENT_DTYPE array of one dimension."""
    cdef Py_buffer view
    cdef Py_ssize_t n, stride
    PyObject_GetBuffer(events, &view, PyBUF_STRIDES)
    good = view.ndim == 1 and view.itemsize == PACKED
    n = view.shape[0] if good else 0
    stride = view.strides[0] if good else 0
    c.t = <const uint8_t *>view.buf
    PyBuffer_Release(&view)
    if not good:
        raise TypeError("events have to be a one-dimensional EVENT_DTYPE array")
    c.x, c.y, c.p = c.t + 8, c.t + 10, c.t + 12
    c.t_stride = c.x_stride = c.y_stride = c.p_stride = stride
    c.t_signed = c.x_signed = c.y_signed = c.p_signed = 0
    c.p_bytes = 1
    return n


cdef object room_for(size_t count):
    """A new array of so many records, to be shortened.

    One that is given back at once comes first: glibc's malloc takes the next of this size from memory that it keeps. Else it
    would map new pages for each, as those that were shortened do not teach it to.
    """
    np.empty(count, EVENT_DTYPE)
    return np.empty(count, EVENT_DTYPE)


cdef object shortened(records, Py_ssize_t count):
    """The first count of them. If they are few the memory behind them is given back; they stay where they are."""
    if 2 * count >= len(records):
        return records[:count]
    records.resize(count, refcheck=False)
    return records


cdef object copied(const uint8_t *records, Py_ssize_t count):
    cdef uint8_t *memory
    array = np.empty(count, EVENT_DTYPE)
    if count:
        memory = memory_of(array)
        with nogil:
            memcpy(memory, records, PACKED * count)
    return array


class BadEvent(Exception):
    """Event `index` is out of order, outside the sensor or of no polarity; nothing was taken."""

    def __init__(self, index):
        self.index = index


cdef enum:
    FEW = 4096  # events, of which tokens are gathered in memory that is kept


cdef class Tokenizer:
    """sp_host_t: the continuous or the discrete tokenizer."""
    cdef sp_host_t *host
    cdef uint8_t *kept
    cdef size_t kept_size
    cdef bint busy
    cdef readonly uint64_t last_t

    def __cinit__(self, uint32_t width, uint32_t height, uint32_t patch_size, bint discrete, double threshold,
                  uint64_t absolute_refractory_us, uint64_t relative_refractory_us, double relative_scale,
                  double decay_per_us, uint64_t duration_us):
        cdef sp_host_config_t config
        if not 0 < width < 65536 or not 0 < height < 65536 or not 0 < patch_size < 65536 or not 0 < threshold < 2**32:
            raise ValueError("the tokenizer's configuration is out of range")
        config.width, config.height, config.patch_size = width, height, patch_size
        config.discrete, config.threshold = discrete, threshold
        config.absolute_refractory_us, config.relative_refractory_us = absolute_refractory_us, relative_refractory_us
        config.relative_scale, config.decay_per_us, config.duration_us = relative_scale, decay_per_us, duration_us
        self.host = sp_host_new(&config)
        if self.host == NULL:
            raise MemoryError("no memory for the tokenizer's patches")

    def __dealloc__(self):
        with nogil:
            sp_host_free(self.host)
            free(self.kept)

    cdef int claim(self) except -1:
        if self.busy:
            raise RuntimeError("this tokenizer is being used by another thread")
        self.busy = True
        return 0

    def push(self, t, x, y, p):
        """Returns x, y, t, offsets, events of the tokens fired, or None if none did.

        Raises BadEvent, and TypeError, ValueError or BufferError for columns that cannot be read in place.
        """
        cdef sp_columns_t columns
        cdef size_t n = take_columns(&columns, t, x, y, p)
        return self.push_columns(&columns, n)

    def push_records(self, events):
        """The same of an EVENT_DTYPE array."""
        cdef sp_columns_t columns
        cdef size_t n = take_records(&columns, events)
        return self.push_columns(&columns, n)

    cdef object push_columns(self, const sp_columns_t *columns, size_t n):
        cdef sp_token_list_t tokens
        cdef sp_host_stats_t stats
        cdef size_t good, room
        cdef uint8_t *out
        cdef uint8_t *end
        tokens.items, tokens.count, tokens.room = NULL, 0, 0
        self.claim()
        try:
            stats = sp_host_stats(self.host)
            # No more events can come out than wait and go in. The pages behind what comes out are never touched.
            room = stats.taken - stats.in_tokens - stats.refractory - stats.discarded + n + 1
            records = None
            if n < FEW:
                out = self.few(PACKED * room)
            else:
                records = room_for(room)
                out = memory_of(records)
            with nogil:
                end = sp_host_push(self.host, columns, n, self.last_t, &good, &tokens, out)
            if end != NULL and good < n:
                raise BadEvent(good)
            if end == NULL:
                raise MemoryError("no memory for the tokenizer's pending events; reset it before going on")
            if n:
                memcpy(&self.last_t, columns.t + <Py_ssize_t>(n - 1) * columns.t_stride, sizeof(uint64_t))
            if tokens.count == 0:
                return None
            count = (end - out) // PACKED
            return *token_arrays(&tokens, np), copied(out, count) if records is None else shortened(records, count)
        finally:
            free(tokens.items)
            self.busy = False

    cdef uint8_t *few(self, size_t size) except NULL:
        if size > self.kept_size:
            free(self.kept)
            self.kept_size = 2 * size
            self.kept = <uint8_t *>malloc(self.kept_size)
            if self.kept == NULL:
                self.kept_size = 0
                raise MemoryError("no memory for the tokens")
        return self.kept

    def reset(self):
        self.claim()
        sp_host_reset(self.host)
        self.last_t = 0
        self.busy = False

    def stats(self) -> dict:
        self.claim()
        cdef sp_host_stats_t s = sp_host_stats(self.host)
        cdef uint64_t pending = sp_host_pending(self.host)
        self.busy = False
        return {"taken": s.taken, "in_tokens": s.in_tokens, "pending": pending, "refractory": s.refractory,
                "decayed": s.discarded, "tokens": s.tokens, "pool_used": pending, "pool_peak": s.pending_peak}


def voxels(t, x, y, p, uint32_t width, uint32_t height, uint32_t patch_size, uint32_t threshold, uint64_t duration_us):
    """Voxel tokens of one chunk: x, y, t, offsets, events, and how many events were in voxels below the threshold.

    Raises BadEvent. The caller sees to it that all bins' times fit.
    """
    cdef sp_columns_t columns
    cdef sp_token_list_t tokens
    cdef size_t n = take_columns(&columns, t, x, y, p), good
    cdef uint64_t discarded = 0
    cdef uint8_t *out
    cdef uint8_t *end
    if width == 0 or height == 0 or patch_size == 0 or duration_us == 0:
        raise ValueError("the tokenizer's configuration is out of range")
    cdef sp_voxel_config_t config
    config.width, config.height, config.patch_size = width, height, patch_size
    config.threshold, config.duration_us = threshold, duration_us
    tokens.items, tokens.count, tokens.room = NULL, 0, 0
    try:
        records = np.empty(n + 1, EVENT_DTYPE)
        out = memory_of(records)
        with nogil:
            end = sp_voxel_tokens(&config, &columns, n, &good, &tokens, out, &discarded)
        if end == NULL:
            raise MemoryError("no memory for the voxels")
        if good < n:
            raise BadEvent(good)
        return *token_arrays(&tokens, np), trimmed(records, (end - out) // PACKED), discarded
    finally:
        free(tokens.items)
