# What the bindings need of numpy's arrays.
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t

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
