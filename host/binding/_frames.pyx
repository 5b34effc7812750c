# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The link's frames (spedge.link)."""
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from libspedge cimport *


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
    cdef int n = sp_frame_encode(&frame, <uint8_t *>PyBytes_AsString(out), capacity)
    if n < 0:
        raise ValueError(sp_strerror(n).decode())
    return out[:n]
