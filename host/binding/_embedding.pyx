# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Volumes and embeddings of tokens (spedge.embedding)."""
import numpy as np

from arrays cimport PACKED, unpack
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from libspedge cimport *

from spedge._events import EVENT_DTYPE


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
