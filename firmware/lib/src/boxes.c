#include "spedge/boxes.h"

#include "spedge/assert.h"

#include <math.h>

static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Intersection over union, of boxes by their corner. */
static float iou(const sp_box_t *a, const sp_box_t *b)
{
    const float w = smaller(a->x + a->w, b->x + b->w) - larger(a->x, b->x);
    const float h = smaller(a->y + a->h, b->y + b->h) - larger(a->y, b->y);
    if (!(w > 0.0f && h > 0.0f))
        return 0.0f;
    return w * h / (a->w * a->h + b->w * b->h - w * h);
}

static sp_box_t candidate(const float given[4], const float *scores, uint32_t classes, uint32_t number)
{
    uint32_t best = 0;
    for (uint32_t c = 1; c < classes; c++)
        if (scores[c] > scores[best])
            best = c;
    const float x = given[0] - given[2] / 2.0f, y = given[1] - given[3] / 2.0f;
    const sp_box_t box = {x, y, given[2], given[3], scores[best], best, number};
    return box;
}

/* False where something is no number, or infinite. */
static int is_finite(const sp_box_t *box)
{
    const float sum = box->x + box->y + box->w + box->h + box->score;
    return sum - sum == 0.0f;
}

/* Behind all of at least its score. What has no room is the lowest, the last of equals. */
static void insert(sp_box_t *kept, uint32_t *count, uint32_t capacity, const sp_box_t *box)
{
    uint32_t at = *count;
    if (at == capacity) {
        if (at == 0 || kept[at - 1].score >= box->score)
            return;
        at--;
    } else {
        (*count)++;
    }
    for (; at > 0 && kept[at - 1].score < box->score; at--)
        kept[at] = kept[at - 1];
    kept[at] = *box;
}

static int is_free(const sp_box_t *kept, uint32_t count, const sp_box_t *box, float most)
{
    for (uint32_t i = 0; i < count; i++)
        if (kept[i].label == box->label && iou(&kept[i], box) > most)
            return 0;
    return 1;
}

static void cut(sp_box_t *box, float right, float bottom)
{
    const float x1 = smaller(box->x + box->w, right), y1 = smaller(box->y + box->h, bottom);
    box->x = larger(box->x, 0.0f);
    box->y = larger(box->y, 0.0f);
    box->w = x1 - box->x;
    box->h = y1 - box->y;
}

/* The candidates that have been gathered: thinned, cut, and those that are left counted. */
static uint32_t thinned(const sp_boxes_rule_t *rule, sp_box_t *kept, uint32_t count)
{
    uint32_t free = 0, whole = 0;
    for (uint32_t i = 0; i < count; i++)
        if (is_free(kept, free, &kept[i], rule->iou))
            kept[free++] = kept[i];
    for (uint32_t i = 0; i < free; i++) {
        cut(&kept[i], (float)rule->width - 1.0f, (float)rule->height - 1.0f);
        if (kept[i].w > 0.0f && kept[i].h > 0.0f)
            kept[whole++] = kept[i];
    }
    return whole;
}

/* Whether a box is looked at; it is gathered then. */
static uint32_t gather(const sp_boxes_rule_t *rule, const sp_box_t *box, sp_box_t *kept, uint32_t *count,
                       uint32_t capacity)
{
    if (!(box->score >= rule->score) || !is_finite(box))
        return 0;
    insert(kept, count, capacity, box);
    return 1;
}

uint32_t sp_boxes_keep(const sp_boxes_rule_t *rule, const float (*given)[4], const float *scores, uint32_t n,
                       sp_box_t *kept, uint32_t capacity, uint32_t *left_out)
{
    SP_ASSERT(rule->classes >= 1);
    uint32_t count = 0, all = 0;
    for (uint32_t i = 0; i < n; i++) {
        const sp_box_t box = candidate(given[i], scores + (uint64_t)i * rule->classes, rule->classes, i);
        all += gather(rule, &box, kept, &count, capacity);
    }
    if (left_out)
        *left_out = all - count;
    return thinned(rule, kept, count);
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static sp_box_t decoded(const float *head, uint32_t classes, float stride, uint32_t column, uint32_t row,
                        uint32_t number)
{
    uint32_t best = 0;
    for (uint32_t c = 1; c < classes; c++)
        if (head[5 + c] > head[5 + best])
            best = c;
    const float w = expf(head[2]) * stride, h = expf(head[3]) * stride;
    const float x = (head[0] + (float)column) * stride, y = (head[1] + (float)row) * stride;
    const sp_box_t box = {x - w / 2.0f, y - h / 2.0f, w, h, sigmoid(head[4]) * sigmoid(head[5 + best]), best, number};
    return box;
}

uint32_t sp_boxes_decode(const sp_boxes_rule_t *rule, const sp_boxes_level_t *levels, uint32_t level_count,
                         const float *head, sp_box_t *kept, uint32_t capacity, uint32_t *left_out)
{
    SP_ASSERT(rule->classes >= 1);
    uint32_t count = 0, all = 0, number = 0;
    for (uint32_t l = 0; l < level_count; l++)
        for (uint32_t row = 0; row < levels[l].rows; row++)
            for (uint32_t column = 0; column < levels[l].columns; column++, number++, head += 5u + rule->classes) {
                const sp_box_t box = decoded(head, rule->classes, levels[l].stride, column, row, number);
                all += gather(rule, &box, kept, &count, capacity);
            }
    if (left_out)
        *left_out = all - count;
    return thinned(rule, kept, count);
}
