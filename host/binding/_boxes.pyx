# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Boxes in C (boxes.h). Use spedge.model.boxes, which checks its input."""
import numpy as np

from libc.stdint cimport uint16_t, uint32_t

cdef extern from "spedge/boxes.h" nogil:
    ctypedef struct sp_box_t:
        float x
        float y
        float w
        float h
        float score
        uint32_t label
        uint32_t number
    ctypedef struct sp_boxes_rule_t:
        float score
        float iou
        uint16_t width
        uint16_t height
        uint16_t classes
    ctypedef struct sp_boxes_level_t:
        uint16_t stride
        uint16_t rows
        uint16_t columns
    uint32_t sp_boxes_keep(const sp_boxes_rule_t *rule, const float (*given)[4], const float *scores, uint32_t n,
                           sp_box_t *kept, uint32_t capacity, uint32_t *left_out)
    uint32_t sp_boxes_decode(const sp_boxes_rule_t *rule, const sp_boxes_level_t *levels, uint32_t level_count,
                             const float *head, sp_box_t *kept, uint32_t capacity, uint32_t *left_out)

DTYPE = np.dtype([(n, "<f4") for n in ("x", "y", "w", "h", "score")] + [(n, "<u4") for n in ("label", "number")])


def keep(const float[:, ::1] given not None, const float[:, ::1] scores not None, float score, float iou,
         uint16_t width, uint16_t height, uint32_t capacity):
    """(boxes DTYPE [m], how many were left out for want of room)."""
    cdef uint32_t n = <uint32_t>given.shape[0]
    cdef sp_boxes_rule_t rule = sp_boxes_rule_t(score, iou, width, height, <uint16_t>scores.shape[1])
    kept_array = np.zeros(min(n, capacity), DTYPE)
    if len(kept_array) == 0:
        return kept_array, 0
    cdef sp_box_t[::1] kept = kept_array
    cdef uint32_t left_out = 0, count
    with nogil:
        count = sp_boxes_keep(&rule, <const float (*)[4]>&given[0, 0], &scores[0, 0], n, &kept[0],
                              <uint32_t>kept.shape[0], &left_out)
    return kept_array[:count], int(left_out)


def decode(const float[:, ::1] head not None, const uint16_t[:, ::1] levels not None, float score, float iou,
           uint16_t width, uint16_t height, uint32_t capacity):
    """The same from a head's numbers. levels: stride, rows and columns of each, uint16 [levels, 3], as many cells in all as
    head has rows."""
    cdef sp_boxes_rule_t rule = sp_boxes_rule_t(score, iou, width, height, <uint16_t>(head.shape[1] - 5))
    kept_array = np.zeros(min(head.shape[0], capacity), DTYPE)
    if len(kept_array) == 0:
        return kept_array, 0
    cdef sp_box_t[::1] kept = kept_array
    cdef uint32_t left_out = 0, count
    with nogil:
        count = sp_boxes_decode(&rule, <const sp_boxes_level_t *>&levels[0, 0], <uint32_t>levels.shape[0], &head[0, 0],
                                &kept[0], <uint32_t>kept.shape[0], &left_out)
    return kept_array[:count], int(left_out)
