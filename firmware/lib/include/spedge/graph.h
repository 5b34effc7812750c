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

#ifdef __cplusplus
}
#endif
#endif
