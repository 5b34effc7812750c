# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Lines of text to events (text_events.h)."""
import numpy as np

from arrays cimport PACKED, memory_of
from libc.stdint cimport int8_t, uint8_t
from libc.string cimport memset

from spedge._events import EVENT_DTYPE

cdef extern from "text_events.h" nogil:
    enum:
        SP_TEXT_COLUMNS_MAX
        SP_TEXT_RECORD
    ctypedef struct sp_text_layout_t:
        uint8_t column[SP_TEXT_COLUMNS_MAX]
        uint8_t columns
        char separator
        int8_t exponent
        uint8_t whole_times
    size_t sp_text_read(const sp_text_layout_t *layout, const char *data, size_t n, uint8_t *records, size_t capacity,
                        size_t *used, size_t *lines)

COLUMNS_MAX = SP_TEXT_COLUMNS_MAX
assert SP_TEXT_RECORD == PACKED == EVENT_DTYPE.itemsize


def read_lines(const unsigned char[::1] data, bytes columns, char separator, int8_t exponent, bint whole_times,
               size_t capacity):
    """Events of the plain lines that data begins with, the bytes, and the lines that were read.

    columns: of each what it holds: 0 to 3 for t, x, y, p; 4: anything.
    """
    cdef sp_text_layout_t layout
    cdef size_t n = data.shape[0], used = 0, lines = 0, events
    cdef uint8_t *memory
    if not 0 < len(columns) <= SP_TEXT_COLUMNS_MAX:
        raise ValueError("too many columns")
    memset(&layout, 0, sizeof(layout))
    for i in range(len(columns)):
        layout.column[i] = columns[i]
    layout.columns = len(columns)
    layout.separator = separator
    layout.exponent = exponent
    layout.whole_times = whole_times
    found = np.empty(capacity, EVENT_DTYPE)
    if n == 0 or capacity == 0:
        return found[:0], 0, 0
    memory = memory_of(found)
    with nogil:
        events = sp_text_read(&layout, <const char *>&data[0], n, memory, capacity, &used, &lines)
    return found[:events], used, lines
