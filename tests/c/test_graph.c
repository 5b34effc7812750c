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
