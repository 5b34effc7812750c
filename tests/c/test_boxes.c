#include "harness.h"
#include "spedge/boxes.h"

#include <math.h>
#include <string.h>

enum { BOXES = 40, CLASSES = 3 };

static float given[BOXES][4], scores[BOXES * CLASSES];
static const sp_boxes_rule_t rule = {.score = 0.25f, .iou = 0.45f, .width = 100, .height = 80, .classes = CLASSES};

/* On a coarse grid, with few scores, so that much is equal; some of no size, some outside, some no numbers. */
static void draw(uint32_t seed)
{
    uint32_t state = seed;
    for (int i = 0; i < BOXES; i++) {
        for (int k = 0; k < 4; k++)
            given[i][k] = (float)harness_random(&state, k < 2 ? 30 : 8) * 4.0f;
        for (int c = 0; c < CLASSES; c++)
            scores[i * CLASSES + c] = (float)harness_random(&state, 9) / 8.0f;
        if (harness_random(&state, 12) == 0)
            given[i][harness_random(&state, 4)] = harness_random(&state, 2) ? NAN : INFINITY;
    }
}

/* As numpy would: the highest first, all pairs. Fills number[] and returns how many. */
static uint32_t expected(uint32_t *number)
{
    uint32_t order[BOXES], kept[BOXES], label[BOXES], count = 0, free = 0, whole = 0;
    for (uint32_t i = 0; i < BOXES; i++) {
        float sum = 0;
        label[i] = 0;
        for (uint32_t c = 1; c < CLASSES; c++)
            label[i] = scores[i * CLASSES + c] > scores[i * CLASSES + label[i]] ? c : label[i];
        for (int k = 0; k < 4; k++)
            sum += given[i][k];
        if (!isfinite(sum) || scores[i * CLASSES + label[i]] < rule.score)
            continue;
        uint32_t at = count++;
        for (; at > 0 && scores[order[at - 1] * CLASSES + label[order[at - 1]]] < scores[i * CLASSES + label[i]]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (uint32_t k = 0; k < count; k++) {
        const float *a = given[order[k]];
        int alone = 1;
        for (uint32_t j = 0; j < free; j++) {
            const float *b = given[kept[j]];
            const float w = fminf(a[0] + a[2] / 2, b[0] + b[2] / 2) - fmaxf(a[0] - a[2] / 2, b[0] - b[2] / 2);
            const float h = fminf(a[1] + a[3] / 2, b[1] + b[3] / 2) - fmaxf(a[1] - a[3] / 2, b[1] - b[3] / 2);
            const float both = w > 0 && h > 0 ? w * h : 0;
            if (label[kept[j]] == label[order[k]] && both > 0 && both / (a[2] * a[3] + b[2] * b[3] - both) > rule.iou)
                alone = 0;
        }
        if (alone)
            kept[free++] = order[k];
    }
    for (uint32_t k = 0; k < free; k++) {
        const float *a = given[kept[k]];
        const float w = fminf(a[0] + a[2] / 2, 99) - fmaxf(a[0] - a[2] / 2, 0);
        const float h = fminf(a[1] + a[3] / 2, 79) - fmaxf(a[1] - a[3] / 2, 0);
        if (w > 0 && h > 0)
            number[whole++] = kept[k];
    }
    return whole;
}

TEST(boxes_are_those_of_the_definition)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        uint32_t number[BOXES], left_out = 99;
        sp_box_t kept[BOXES];
        draw(seed);
        const uint32_t count = sp_boxes_keep(&rule, given, scores, BOXES, kept, BOXES, &left_out);
        CHECK_EQ(count, expected(number));
        CHECK_EQ(left_out, 0);
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQ(kept[i].number, number[i]);
            CHECK(kept[i].x >= 0 && kept[i].y >= 0 && kept[i].x + kept[i].w <= 99 && kept[i].y + kept[i].h <= 79);
            CHECK(kept[i].score == scores[number[i] * CLASSES + kept[i].label]);
        }
    }
}

TEST(boxes_without_room_are_the_worst_and_are_counted)
{
    static const float apart[4][4] = {{10, 10, 4, 4}, {30, 10, 4, 4}, {50, 10, 4, 4}, {70, 10, 4, 4}};
    static const float of_one[4] = {0.5f, 0.75f, 0.5f, 1.0f};
    const sp_boxes_rule_t one = {.score = 0.5f, .iou = 0.5f, .width = 100, .height = 80, .classes = 1};
    sp_box_t kept[4];
    uint32_t left_out = 0;
    CHECK_EQ(sp_boxes_keep(&one, apart, of_one, 4, kept, 3, &left_out), 3);
    CHECK_EQ(left_out, 1);
    CHECK_EQ(kept[0].number, 3);
    CHECK_EQ(kept[1].number, 1);
    CHECK_EQ(kept[2].number, 0); /* of equals the first */
    CHECK_EQ(sp_boxes_keep(&one, apart, of_one, 4, kept, 0, &left_out), 0);
    CHECK_EQ(left_out, 4);
    CHECK_EQ(sp_boxes_keep(&one, apart, of_one, 0, kept, 3, NULL), 0);
}

TEST(boxes_of_a_head_are_decoded_where_their_cells_are)
{
    static const sp_boxes_level_t levels[2] = {{8, 1, 2}, {16, 1, 1}};
    static const float head[3][6] = {
        {0.5f, 0.5f, 0.0f, 0.0f, -20.0f, 9.0f},        /* nothing there */
        {0.5f, 0.25f, 0.69314718f, 0.0f, 0.0f, 20.0f}, /* the second cell: 16x8 around (12, 2), half a score */
        {2.0f, 1.0f, 0.0f, -0.69314718f, 20.0f,
         1.09861229f}, /* the next level's: 16x8 around (32, 16), three quarters */
    };
    const sp_boxes_rule_t one = {.score = 0.1f, .iou = 0.5f, .width = 100, .height = 80, .classes = 1};
    sp_box_t kept[3];
    uint32_t left_out = 9;
    CHECK_EQ(sp_boxes_decode(&one, levels, 2, &head[0][0], kept, 3, &left_out), 2);
    CHECK_EQ(left_out, 0);
    CHECK_EQ(kept[0].number, 2);
    CHECK(fabsf(kept[0].x - 24) < 1e-4f && fabsf(kept[0].y - 12) < 1e-4f);
    CHECK(fabsf(kept[0].w - 16) < 1e-4f && fabsf(kept[0].h - 8) < 1e-4f && fabsf(kept[0].score - 0.75f) < 1e-5f);
    CHECK_EQ(kept[1].number, 1);
    CHECK(fabsf(kept[1].x - 4) < 1e-4f && kept[1].y == 0.0f); /* cut at the sensor's edge */
    CHECK(fabsf(kept[1].w - 16) < 1e-4f && fabsf(kept[1].h - 6) < 1e-4f && fabsf(kept[1].score - 0.5f) < 1e-5f);
    CHECK_EQ(sp_boxes_decode(&one, levels, 2, &head[0][0], kept, 1, &left_out), 1);
    CHECK_EQ(left_out, 1);
}

TEST(boxes_of_no_class_are_misuse)
{
    sp_boxes_rule_t none = rule;
    sp_box_t kept[1];
    none.classes = 0;
    CHECK_MISUSE(sp_boxes_keep(&none, given, scores, 1, kept, 1, NULL));
}
