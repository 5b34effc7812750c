# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The layout of events in arrays (spedge.events)."""
import sys

import numpy as np

from arrays cimport PACKED, Column, column, memory_of
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from libspedge cimport sp_event_t

EVENT_DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])

if sys.byteorder != "little":
    raise ImportError("spedge needs a little-endian host")
# pack (arrays.pxd) takes the first 13 bytes of sp_event_t for a record.
assert EVENT_DTYPE.itemsize == PACKED and sizeof(sp_event_t) == 16
assert [EVENT_DTYPE.fields[name][1] for name in "txyp"] == [0, 8, 10, 12]


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
