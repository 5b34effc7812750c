# What the bindings need of numpy's arrays: events and tokens between them and C.
from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from libspedge cimport sp_event_t, sp_token_t

cdef extern from "token_list.h" nogil:
    ctypedef struct sp_token_list_t:
        sp_token_t *items
        size_t count, room
    int sp_token_list_add(sp_token_list_t *list, sp_token_t token)

cdef enum:
    PACKED = 13  # bytes of an EVENT_DTYPE record


cdef inline uint8_t *memory_of(object array) except? NULL:
    """The bytes of a new contiguous array."""
    cdef Py_buffer view
    cdef uint8_t *memory
    PyObject_GetBuffer(array, &view, PyBUF_WRITABLE)
    memory = <uint8_t *>view.buf
    PyBuffer_Release(&view)
    return memory


# ---------------------------------------------------------------- one event between two layouts

cdef inline void pack(const sp_event_t *event, uint8_t *record) noexcept nogil:
    """The first 13 bytes of sp_event_t are a record. All 16 are copied, in one go: there has to be room for a record more,
    and the next one is written after this."""
    memcpy(record, event, sizeof(sp_event_t))


cdef inline void unpack(const uint8_t *record, sp_event_t *event) noexcept nogil:
    memcpy(&event.t, record, 8)
    memcpy(&event.x, record + 8, 2)
    memcpy(&event.y, record + 10, 2)
    event.p = record[12]


# ---------------------------------------------------------------- fields of any structured array

cdef struct Column:
    const uint8_t *data
    Py_ssize_t stride


cdef inline Column column(object array, Py_ssize_t n, int itemsize) except *:
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


cdef inline void gather(const Column *c, size_t i, sp_event_t *event) noexcept nogil:
    memcpy(&event.t, c[0].data + <Py_ssize_t>i * c[0].stride, 8)
    memcpy(&event.x, c[1].data + <Py_ssize_t>i * c[1].stride, 2)
    memcpy(&event.y, c[2].data + <Py_ssize_t>i * c[2].stride, 2)
    event.p = c[3].data[<Py_ssize_t>i * c[3].stride]


# ---------------------------------------------------------------- tokens

cdef inline tuple token_arrays(const sp_token_list_t *tokens, object np):
    """New arrays x, y, t and offsets. np: numpy, which a .pxd cannot import."""
    cdef size_t i, n = tokens.count
    cdef int64_t at = 0
    x, y, t, offsets = np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.uint64), np.empty(n + 1, np.int64)
    cdef uint16_t *xs = <uint16_t *>memory_of(x)
    cdef uint16_t *ys = <uint16_t *>memory_of(y)
    cdef uint64_t *ts = <uint64_t *>memory_of(t)
    cdef int64_t *ends = <int64_t *>memory_of(offsets)
    ends[0] = 0
    for i in range(n):
        xs[i] = tokens.items[i].x
        ys[i] = tokens.items[i].y
        ts[i] = tokens.items[i].t
        at += tokens.items[i].n
        ends[i + 1] = at
    return x, y, t, offsets
