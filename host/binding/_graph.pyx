# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Graphs on points in C (graph.h). Use spedge.tokens.graph, which checks its input."""
import numpy as np

from libc.stdint cimport uint8_t, uint32_t

cdef extern from "spedge/graph.h" nogil:
    ctypedef struct sp_graph_search_t:
        uint32_t cap
        double radius
        uint8_t rule
        uint8_t self
    size_t sp_graph_work_size(uint32_t n, uint32_t cap)
    int sp_graph_neighbours(const sp_graph_search_t *search, const double (*points)[3], uint32_t n,
                            const uint32_t *centres, uint32_t m, void *work, size_t work_size, uint32_t *sources,
                            uint32_t *counts)
    int sp_graph_neighboursf(const sp_graph_search_t *search, const float (*points)[3], uint32_t n,
                             const uint32_t *centres, uint32_t m, void *work, size_t work_size, uint32_t *sources,
                             uint32_t *counts)
    void sp_graph_sample(const double (*points)[3], uint32_t n, uint32_t start, uint32_t m, double *nearest,
                         uint32_t *chosen)
    void sp_graph_samplef(const float (*points)[3], uint32_t n, uint32_t start, uint32_t m, float *nearest,
                          uint32_t *chosen)

ctypedef fused real:
    float
    double


def neighbours(const real[:, ::1] points not None, const uint32_t[::1] centres, double radius, uint32_t cap,
               uint8_t rule, bint own):
    """(sources uint32 [m, cap], counts uint32 [m]) of the centres' neighbours; centres None: all points."""
    cdef uint32_t n = <uint32_t>points.shape[0]
    cdef uint32_t m = n if centres is None else <uint32_t>centres.shape[0]
    cdef sp_graph_search_t search = sp_graph_search_t(cap, radius, rule, own)
    cdef size_t size = sp_graph_work_size(n, cap)
    sources_array, counts_array = np.zeros((m, cap), np.uint32), np.zeros(m, np.uint32)
    if m == 0:
        return sources_array, counts_array
    cdef uint32_t[:, ::1] sources = sources_array
    cdef uint32_t[::1] counts = counts_array
    cdef double[::1] work = np.empty((size + 7) // 8)
    cdef const uint32_t *first = NULL if centres is None else &centres[0]
    cdef int rc
    with nogil:
        if real is double:
            rc = sp_graph_neighbours(&search, <const double (*)[3]>&points[0, 0], n, first, m, &work[0], size,
                                     &sources[0, 0], &counts[0])
        else:
            rc = sp_graph_neighboursf(&search, <const float (*)[3]>&points[0, 0], n, first, m, &work[0], size,
                                      &sources[0, 0], &counts[0])
    if rc < 0:
        raise ValueError(f"a search of radius {radius} and cap {cap} cannot be")
    return sources_array, counts_array


def sample(const real[:, ::1] points not None, uint32_t start, uint32_t count):
    """Numbers of `count` points, each the farthest from those before it, uint32 [count]."""
    cdef uint32_t n = <uint32_t>points.shape[0]
    chosen_array = np.empty(count, np.uint32)
    if count == 0:
        return chosen_array
    cdef uint32_t[::1] chosen = chosen_array
    cdef real[::1] nearest = np.empty(n, np.float64 if real is double else np.float32)
    with nogil:
        if real is double:
            sp_graph_sample(<const double (*)[3]>&points[0, 0], n, start, count, &nearest[0], &chosen[0])
        else:
            sp_graph_samplef(<const float (*)[3]>&points[0, 0], n, start, count, &nearest[0], &chosen[0])
    return chosen_array
