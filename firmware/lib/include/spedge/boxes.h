/* Boxes from what a detector gives: those of a score that is high enough, thinned class by class (non-maximum suppression),
 * cut to the sensor. The same on the host and on a device. */
#ifndef SP_BOXES_H_INCLUDED
#define SP_BOXES_H_INCLUDED

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Upper left corner and size in pixels. */
typedef struct sp_box {
    float x, y, w, h;
    float score;     /* the highest of its classes' */
    uint32_t label;  /* whose; of equals the lowest number */
    uint32_t number; /* of it among those that the detector gave */
} sp_box_t;

typedef struct sp_boxes_rule {
    float score;            /* the least that is kept */
    float iou;              /* a box whose IoU with a better one of its class is more than this is left out */
    uint16_t width, height; /* of the sensor */
    uint16_t classes;       /* >= 1 */
} sp_boxes_rule_t;

/* A level of the boxes that a detector gives: its cells, row by row, `stride` pixels from one to the next. */
typedef struct sp_boxes_level {
    uint16_t stride, rows, columns;
} sp_boxes_level_t;

/* The boxes to keep among n, by falling score, of equals the lowest number first.
 * given[n]: centre x, centre y, width, height in pixels. scores[n * classes]. kept[capacity]: room for the candidates,
 * which are the `capacity` best ones of high enough a score; *left_out: how many more there were (may be NULL).
 * Thinned before they are cut to [0, width - 1] x [0, height - 1]; those of no area then are left out. What is no number
 * is no candidate. Returns how many are in kept. */
uint32_t sp_boxes_keep(const sp_boxes_rule_t *rule, const float (*given)[4], const float *scores, uint32_t n,
                       sp_box_t *kept, uint32_t capacity, uint32_t *left_out);

/* The same from what a head gives: for every cell of every level, row by row, dx, dy, log w, log h in cells of its level, the
 * objectness logit and a logit for each class. Centre (place + d) * stride, size exp(log) * stride, score
 * sigmoid(objectness) * sigmoid(class). */
uint32_t sp_boxes_decode(const sp_boxes_rule_t *rule, const sp_boxes_level_t *levels, uint32_t level_count,
                         const float *head, sp_box_t *kept, uint32_t capacity, uint32_t *left_out);

#ifdef __cplusplus
}
#endif
#endif
