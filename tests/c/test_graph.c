#include "harness.h"
#include "spedge/graph.h"

#include "spedge/error.h"
#include <math.h>
#include <string.h>

enum { POINTS = 60, CAP = 7 };

static double points[POINTS][3];
static float pointsf[POINTS][3];

/* Points on a coarse grid, so that many distances are equal; in order of time, and not. */
static void draw(uint32_t seed, int sorted)
{
    uint32_t state = seed, time = 0;
    for (uint32_t i = 0; i < POINTS; i++) {
        time = sorted ? time + harness_random(&state, 3) : harness_random(&state, POINTS);
        points[i][0] = harness_random(&state, 4);
        points[i][1] = harness_random(&state, 4);
        points[i][2] = 0.25 * time;
        for (int axis = 0; axis < 3; axis++)
            pointsf[i][axis] = (float)points[i][axis];
    }
}

static double distance(uint32_t a, uint32_t b)
{
    double sum = 0;
    for (int axis = 0; axis < 3; axis++)
        sum += (points[a][axis] - points[b][axis]) * (points[a][axis] - points[b][axis]);
    return sum;
}

/* Whether a is to be kept before b. */
static int before(const sp_graph_search_t *search, uint32_t centre, uint32_t a, uint32_t b)
{
    const double to_a = distance(centre, a), to_b = distance(centre, b);
    if (search->rule == SP_GRAPH_LOWEST || fabs(to_a - to_b) < 1e-12)
        return a < b;
    return to_a < to_b;
}

/* All pairs, looked at one by one. */
static uint32_t expected(const sp_graph_search_t *search, uint32_t centre, uint32_t *kept)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < POINTS; i++) {
        if (distance(centre, i) >= search->radius * search->radius || (i == centre && !search->self))
            continue;
        uint32_t at = count;
        for (; at > 0 && before(search, centre, i, kept[at - 1]); at--)
            kept[at] = kept[at - 1];
        kept[at] = i;
        count++;
    }
    return count < search->cap ? count : search->cap;
}

static void check_all(uint8_t rule, uint8_t self, int sorted, int narrow)
{
    for (uint32_t seed = 1; seed < 8; seed++) {
        draw(seed, sorted);
        const sp_graph_search_t search = {.cap = CAP, .radius = 0.5 * seed, .rule = rule, .self = self};
        const size_t size = sp_graph_work_size(POINTS, CAP);
        void *work = harness_alloc(size);
        uint32_t sources[POINTS * CAP], counts[POINTS], kept[POINTS];
        const int status =
            narrow ? sp_graph_neighboursf(&search, pointsf, POINTS, NULL, POINTS, work, size, sources, counts)
                   : sp_graph_neighbours(&search, points, POINTS, NULL, POINTS, work, size, sources, counts);
        CHECK_EQ(status, SP_OK);
        for (uint32_t centre = 0; centre < POINTS; centre++) {
            CHECK_EQ(counts[centre], expected(&search, centre, kept));
            CHECK(memcmp(&sources[centre * CAP], kept, counts[centre] * sizeof *kept) == 0);
        }
    }
}

TEST(graph_neighbours_are_those_of_a_look_at_all_pairs)
{
    for (int which = 0; which < 16; which++)
        check_all((uint8_t)(which & 1), (uint8_t)(which >> 1 & 1), which >> 2 & 1, which >> 3 & 1);
}

TEST(graph_centres_are_some_of_the_points)
{
    draw(5, 0);
    const sp_graph_search_t search = {.cap = POINTS, .radius = 2.0, .rule = SP_GRAPH_NEAREST, .self = 1};
    const uint32_t centres[3] = {40, 0, 59};
    const size_t size = sp_graph_work_size(POINTS, POINTS);
    uint32_t sources[3 * POINTS], counts[3], kept[POINTS];
    CHECK_EQ(sp_graph_neighbours(&search, points, POINTS, centres, 3, harness_alloc(size), size, sources, counts),
             SP_OK);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(counts[i], expected(&search, centres[i], kept));
        CHECK(memcmp(&sources[i * POINTS], kept, counts[i] * sizeof *kept) == 0);
    }
}

TEST(graph_refuses_a_search_that_cannot_be_and_too_little_memory)
{
    draw(1, 1);
    const size_t size = sp_graph_work_size(POINTS, CAP);
    char *work = harness_alloc(size + 8);
    uint32_t sources[POINTS * CAP], counts[POINTS];
    sp_graph_search_t search = {.cap = CAP, .radius = 1.0, .rule = SP_GRAPH_NEAREST, .self = 1};
    CHECK_EQ(sp_graph_neighbours(&search, points, POINTS, NULL, POINTS, work, size - 1, sources, counts),
             SP_ERR_CAPACITY);
    CHECK_EQ(sp_graph_neighbours(&search, points, POINTS, NULL, POINTS, work + 1, size, sources, counts),
             SP_ERR_CAPACITY);
    search.cap = 0;
    CHECK_EQ(sp_graph_neighbours(&search, points, POINTS, NULL, POINTS, work, size, sources, counts), SP_ERR_CONFIG);
    search.cap = CAP;
    search.radius = NAN;
    CHECK_EQ(sp_graph_neighbours(&search, points, POINTS, NULL, POINTS, work, size, sources, counts), SP_ERR_CONFIG);
    search.radius = 0.0;
    CHECK_EQ(sp_graph_neighbours(&search, points, POINTS, NULL, POINTS, work, size, sources, counts), SP_ERR_CONFIG);
}

TEST(graph_each_sampled_point_is_the_farthest_from_those_before)
{
    double nearest[POINTS];
    uint32_t chosen[POINTS];
    draw(3, 1);
    sp_graph_sample(points, POINTS, 11, POINTS / 2, nearest, chosen);
    CHECK_EQ(chosen[0], 11);
    for (uint32_t k = 1; k < POINTS / 2; k++) {
        uint32_t farthest = 0;
        double most = -1;
        for (uint32_t i = 0; i < POINTS; i++) {
            double least = INFINITY;
            for (uint32_t j = 0; j < k; j++)
                least = fmin(least, distance(i, chosen[j]));
            if (least > most) {
                most = least;
                farthest = i;
            }
        }
        CHECK_EQ(chosen[k], farthest);
    }
}

/* Two tables in one block, of doubles or of floats: all points with their neighbours, and a sample among itself or not. */
static void check_plan(int narrow, uint8_t inside, uint32_t n)
{
    enum { ROOM = 32, HALF = 16, WORDS = 2 + ROOM * (1 + CAP) + HALF * (2 + CAP) };
    const sp_graph_search_t search = {.cap = CAP, .radius = 2.0, .rule = SP_GRAPH_NEAREST, .self = 1};
    const sp_graph_table_t tables[] = {
        {.search = search, .targets = ROOM, .points_offset = 0, .kept_offset = 0},
        {.search = search,
         .share = 0.5,
         .inside = inside,
         .targets = HALF,
         .points_offset = 0,
         .kept_offset = 24 * ROOM},
    };
    sp_graph_plan_t plan = {.tables = tables, .count = 2, .points = ROOM, .single = (uint8_t)narrow};
    plan.words_offset = 24 * (ROOM + HALF);
    plan.work_offset = plan.words_offset + 4 * WORDS + 8;
    plan.work_bytes = (uint32_t)sp_graph_plan_work(&plan);
    uint8_t *block = harness_alloc(plan.work_offset + plan.work_bytes);
    memset(block, 0xa5, plan.work_offset + plan.work_bytes);
    draw(9, 1);
    memcpy(block, points, n * sizeof *points);
    CHECK_EQ(sp_graph_plan_words(&plan), WORDS);
    CHECK_EQ(sp_graph_build(&plan, block, n), SP_OK);

    const uint32_t *words = (const uint32_t *)(const void *)(block + plan.words_offset), m = (n + 1) / 2;
    const uint32_t *first = words + 2, *chosen = first + ROOM * (1 + CAP), *second = chosen + HALF;
    uint32_t expect[ROOM], counts[ROOM], sources[ROOM * CAP], work_size = (uint32_t)sp_graph_work_size(ROOM, CAP);
    void *work = harness_alloc(work_size);
    CHECK_EQ(words[0], n);
    CHECK_EQ(words[1], m);
    CHECK(memcmp(block, narrow ? (void *)pointsf : (void *)points, n * (narrow ? sizeof *pointsf : sizeof *points)) ==
          0);
    CHECK_EQ(sp_graph_neighbours(&search, points, n, NULL, n, work, work_size, sources, counts), SP_OK);
    CHECK(memcmp(first, counts, n * sizeof *counts) == 0);
    for (uint32_t i = 0; i < n; i++)
        CHECK(memcmp(first + ROOM + i * CAP, sources + i * CAP, counts[i] * sizeof *sources) == 0);
    double nearest[ROOM], kept[ROOM][3];
    sp_graph_sample(points, n, 0, m, nearest, expect);
    CHECK(memcmp(chosen, expect, m * sizeof *expect) == 0);
    for (uint32_t i = 0; i < m; i++)
        memcpy(kept[i], points[expect[i]], sizeof kept[i]);
    CHECK_EQ(inside ? sp_graph_neighbours(&search, kept, m, NULL, m, work, work_size, sources, counts)
                    : sp_graph_neighbours(&search, points, n, expect, m, work, work_size, sources, counts),
             SP_OK);
    CHECK(memcmp(second, counts, m * sizeof *counts) == 0);
    for (uint32_t i = 0; i < m; i++)
        CHECK(memcmp(second + HALF + i * CAP, sources + i * CAP, counts[i] * sizeof *sources) == 0);
    CHECK_EQ(sp_graph_build(&plan, block, ROOM + 1), SP_ERR_CAPACITY);
}

TEST(graph_plan_makes_all_tables_of_a_model)
{
    for (int narrow = 0; narrow < 2; narrow++)
        for (uint8_t inside = 0; inside < 2; inside++)
            for (uint32_t n = 0; n <= 32; n += n < 3 ? 1 : 29)
                check_plan(narrow, inside, n);
}

TEST(graph_plan_takes_loops_out_when_they_have_been_counted)
{
    enum { ROOM = 4, SMALL = 2, WORDS = 1 + ROOM * (2 + SMALL) };
    const sp_graph_table_t table = {
        .search = {.cap = SMALL, .radius = 9.0, .rule = SP_GRAPH_LOWEST, .self = 1},
        .share = 1.0,
        .inside = 1,
        .without_loops = 1,
        .targets = ROOM,
        .kept_offset = 24 * ROOM,
    };
    double block[12 * ROOM];
    const sp_graph_plan_t plan = {.tables = &table,
                                  .count = 1,
                                  .points = ROOM,
                                  .words_offset = 48 * ROOM,
                                  .work_offset = 48 * ROOM + 4 * (WORDS + 1),
                                  .work_bytes = 8 * ROOM};
    memset(block, 0, sizeof block);
    for (int i = 0; i < ROOM; i++)
        block[3 * i] = i; /* all in reach of all: the two lowest are 0 and 1 */
    CHECK(sp_graph_plan_work(&plan) <= plan.work_bytes && plan.work_offset + plan.work_bytes <= sizeof block);
    CHECK_EQ(sp_graph_build(&plan, block, ROOM), SP_OK);
    const uint32_t *counts = (const uint32_t *)(const void *)(block + 6 * ROOM) + 1 + ROOM, *sources = counts + ROOM;
    for (uint32_t i = 0; i < ROOM; i++)
        CHECK_EQ(counts[i], i < 2 ? 1 : 2);
    CHECK_EQ(sources[0], 1);
    CHECK_EQ(sources[SMALL], 0);
}
