/* Graphs on tokens or events: neighbours within a radius, and farthest-point sampling. Points are (column, row, time),
 * the time already in units of the model's time scale. In double for the GNN, in float for the PCN, as published. */
#ifndef SP_GRAPH_H_INCLUDED
#define SP_GRAPH_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which of the points in reach stay when there are more than the cap. Either way of equals the lowest number. */
typedef enum sp_graph_rule {
    SP_GRAPH_NEAREST = 0, /* the nearest, nearest first */
    SP_GRAPH_LOWEST = 1,  /* those of the lowest numbers, as the published code on a GPU */
} sp_graph_rule_t;

/* What to look for. */
typedef struct sp_graph_search {
    uint32_t cap;  /* neighbours of a centre at most, >= 1 */
    double radius; /* a neighbour is strictly nearer */
    uint8_t rule;  /* sp_graph_rule_t */
    uint8_t self;  /* whether a centre is its own neighbour */
} sp_graph_search_t;

/* Bytes of work memory, 8-byte aligned, for n points. 0: too many. */
size_t sp_graph_work_size(uint32_t n, uint32_t cap);

/* Neighbours of m centres among n points. centres: their numbers; NULL: all points, m is n.
 * sources[m * cap]: row i starts with the numbers of the neighbours of centre i, and counts[m] says how many they are;
 * the rest of a row is left as it is. Cost follows the points within the radius in time, whatever the order of the
 * points; those in order of time are not sorted first.
 * Returns SP_OK, SP_ERR_CONFIG (cap 0, or a radius that is not positive) or SP_ERR_CAPACITY (work too small or misaligned). */
int sp_graph_neighbours(const sp_graph_search_t *search, const double (*points)[3], uint32_t n, const uint32_t *centres,
                        uint32_t m, void *work, size_t work_size, uint32_t *sources, uint32_t *counts);
int sp_graph_neighboursf(const sp_graph_search_t *search, const float (*points)[3], uint32_t n, const uint32_t *centres,
                         uint32_t m, void *work, size_t work_size, uint32_t *sources, uint32_t *counts);

/* Farthest-point sampling: chosen[0] is start, each further one the point farthest from all chosen before it, of equals
 * the first; m <= n of them, start < n. nearest[n]: work memory. */
void sp_graph_sample(const double (*points)[3], uint32_t n, uint32_t start, uint32_t m, double *nearest,
                     uint32_t *chosen);
void sp_graph_samplef(const float (*points)[3], uint32_t n, uint32_t start, uint32_t m, float *nearest,
                      uint32_t *chosen);

/* The graphs of a whole model, in one block of memory: tables, each of them on the points that the one before has left.
 * A table samples a share of the points first, or goes on with all of them; these are its targets, each of which gets its
 * neighbours among the points before, or among the targets. */
typedef struct sp_graph_table {
    sp_graph_search_t search;
    double share;           /* of the points, ceil(share * n) of them; 0: all, in their order */
    uint8_t inside;         /* not 0: neighbours are looked for among the targets */
    uint8_t without_loops;  /* not 0: a target that was found to be its own neighbour is taken out of its row */
    uint32_t targets;       /* room */
    uint32_t points_offset; /* of the points before: double or float [points][3] */
    uint32_t kept_offset;   /* of the targets' points; points_offset where all are targets */
} sp_graph_table_t;

/* words[]: of each table how many targets there are; then of each, one behind the other, numbers of the targets among the
 * points before [targets] where it samples, how many neighbours each target has [targets], and their numbers
 * [targets][search.cap], the rest of a row as it was. Offsets are in bytes from the block's start, which is 16-byte
 * aligned. */
typedef struct sp_graph_plan {
    const sp_graph_table_t *tables; /* [count] */
    uint32_t count;
    uint32_t points; /* room */
    uint8_t single;  /* not 0: in float */
    uint32_t words_offset;
    uint32_t work_offset, work_bytes; /* at least sp_graph_plan_work; free before and after */
} sp_graph_plan_t;

/* Words of words[]. */
uint32_t sp_graph_plan_words(const sp_graph_plan_t *plan);

/* Bytes of work memory that sp_graph_build needs. */
size_t sp_graph_plan_work(const sp_graph_plan_t *plan);

/* Make all tables of the n points at tables[0].points_offset, double [n][3], which become float there with `single`.
 * Returns SP_OK, SP_ERR_CAPACITY (more points than there is room for) or what sp_graph_neighbours does. Main loop; never
 * blocks; cost as of the searches, and n times the samples. */
int sp_graph_build(const sp_graph_plan_t *plan, void *block, uint32_t n);

#ifdef __cplusplus
}
#endif
#endif
