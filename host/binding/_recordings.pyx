# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What recordings are read with: text (text_events.h), Event Streams (event_stream.h), blocks of ECF (ecf.h)."""
import numpy as np

from arrays cimport PACKED, memory_of, pack
from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from libspedge cimport SP_OK, sp_event_t

from spedge._events import EVENT_DTYPE, trimmed

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

cdef extern from "event_stream.h" nogil:
    enum:
        SP_ES_DVS
        SP_ES_ATIS
        SP_ES_COLOR
    ctypedef struct sp_es_t:
        uint64_t consumed, exposures, outside
        uint16_t width, height
        uint8_t kind, drop, damaged, held
    size_t sp_es_event_bytes(const sp_es_t *es)
    size_t sp_es_decode(sp_es_t *es, const uint8_t *data, size_t n, uint8_t *records)

cdef extern from "ecf.h" nogil:
    int32_t sp_ecf_count(const uint8_t *block, size_t n)
    int sp_ecf_decode(const uint8_t *block, size_t n, sp_event_t *events)

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


cdef class EventStreamDecoder:
    """The bytes after the header of a DVS (1), ATIS (2) or color (4) Event Stream, cut anywhere.

    drop: events outside the sensor are left out and counted; else the first one ends the stream (`damaged`).
    """
    cdef sp_es_t es

    def __cinit__(self, uint8_t kind, uint16_t width, uint16_t height, bint drop=False):
        if kind not in (SP_ES_DVS, SP_ES_ATIS, SP_ES_COLOR):
            raise ValueError("unknown kind of event stream")
        self.es.kind, self.es.width, self.es.height, self.es.drop = kind, width, height, drop

    def feed(self, const uint8_t[::1] data not None):
        """Events of these bytes as an EVENT_DTYPE array."""
        cdef size_t n = data.shape[0], count
        cdef uint8_t *memory
        records = np.empty((n + self.es.held) // sp_es_event_bytes(&self.es) + 1, EVENT_DTYPE)
        if n == 0:
            return records[:0]
        memory = memory_of(records)
        with nogil:
            count = sp_es_decode(&self.es, &data[0], n, memory)
        return trimmed(records, count)

    @property
    def held(self) -> int:
        """Bytes of an event that is not whole yet."""
        return self.es.held

    @property
    def consumed(self) -> int:
        """Bytes read."""
        return self.es.consumed

    @property
    def exposures(self) -> int:
        """Exposure measurements (ATIS), which are left out."""
        return self.es.exposures

    @property
    def outside(self) -> int:
        """Events outside the sensor."""
        return self.es.outside

    @property
    def damaged(self) -> bool:
        """The event that ends before `consumed` is outside the sensor: nothing more comes."""
        return self.es.damaged != 0


def ecf_decode(const uint8_t[::1] data not None):
    """Events of a block as an EVENT_DTYPE array. Raises ValueError when it is damaged."""
    cdef size_t n = data.shape[0]
    cdef const uint8_t *block = &data[0] if n else NULL
    cdef int32_t i, count = sp_ecf_count(block, n)
    cdef sp_event_t *events
    cdef uint8_t *memory
    cdef int rc
    if count < 0:
        raise ValueError("its ECF header is damaged")
    records = np.empty(count + 1, EVENT_DTYPE)
    memory = memory_of(records)
    events = <sp_event_t *>malloc((count + 1) * sizeof(sp_event_t))
    if events == NULL:
        raise MemoryError()
    with nogil:
        rc = sp_ecf_decode(block, n, events)
        for i in range(count):
            pack(&events[i], memory + PACKED * i)
    free(events)
    if rc != SP_OK:
        raise ValueError(f"its ECF data ends early, after {n} bytes")
    return records[:count]
