/* What the compiled kernels of models on graphs are made of: they go by the tables that sp_graph_build has made.
 *
 * Rows of a block lie side by side: element c of row r is at r * row + c * column of them. Rows past the last one that
 * there is (`left` of them) are computed like others, but nobody reads them. */
#ifndef SP_KERNEL_GRAPH_H_INCLUDED
#define SP_KERNEL_GRAPH_H_INCLUDED

#include "spedge/kernel_math.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A spline's kernel: matrices along each axis, and all of them. */
#define SP_K_SPLINE_KNOTS 4
#define SP_K_SPLINE_CELLS 64

/* The two matrices along an axis that an edge of that length, in (-1, 1), takes part in: the first one, and the share of the
 * second. */
static inline int32_t sp_k_spline_knot(float length, float *share)
{
    const float place = (0.5f + 0.5f * length) * (float)(SP_K_SPLINE_KNOTS - 1);
    int32_t low = (int32_t)place;
    low = low > SP_K_SPLINE_KNOTS - 2 ? SP_K_SPLINE_KNOTS - 2 : low;
    *share = place - (float)low;
    return low;
}

static inline void sp_k_spline_corner(float weight, const float *x, int32_t features, int32_t column, float *sums)
{
    for (int32_t f = 0; f < features; ++f)
        sums[f * column] = SP_K_FMA(weight, x[f], sums[f * column]);
}

/* sums[cell * features + f] of one target: the mean over its edges of the source's features times the share of that matrix
 * in the edge. inverse: 1 / radius. */
static inline void sp_k_spline(const int32_t *sources, const int32_t *counts, const double *points, const float *x,
                               int32_t target, int32_t left, int32_t cap, int32_t features, float inverse,
                               int32_t column, float *sums)
{
    const int32_t count = target < left ? counts[target] : 0;
    const float mean = count > 0 ? 1.0f / (float)count : 0.0f;
    for (int32_t i = 0; i < SP_K_SPLINE_CELLS * features; ++i)
        sums[i * column] = 0.0f;
    for (int32_t e = 0; e < count; ++e) {
        const int32_t source = sources[target * cap + e];
        const float *row = x + source * features;
        float share[3];
        int32_t cell = 0;
        for (int32_t axis = 2; axis >= 0; --axis) {
            const float length = (float)(points[3 * source + axis] - points[3 * target + axis]) * inverse;
            cell = cell * SP_K_SPLINE_KNOTS + sp_k_spline_knot(length, &share[axis]);
        }
        float *const first = sums + cell * features * column;
        for (int32_t corner = 0; corner < 8; ++corner) {
            const int32_t x1 = corner & 1, y1 = corner >> 1 & 1, t1 = corner >> 2;
            const int32_t knot = x1 + SP_K_SPLINE_KNOTS * (y1 + SP_K_SPLINE_KNOTS * t1);
            const float weight = mean * (x1 ? share[0] : 1.0f - share[0]) * (y1 ? share[1] : 1.0f - share[1]) *
                                 (t1 ? share[2] : 1.0f - share[2]);
            sp_k_spline_corner(weight, row, features, column, first + knot * features * column);
        }
    }
}

/* One row of a centre's edge: relu(y[source] + (its place less the centre's) @ w), w [3][width]. An edge past the last one
 * is that again. */
static inline void sp_k_edge(const int32_t *sources, const int32_t *counts, const float *points, const float *centres,
                             const float *y, const float *w, int32_t centre, int32_t edge, int32_t cap, int32_t width,
                             int32_t column, float *out)
{
    const int32_t last = counts[centre] - 1;
    const int32_t source = sources[centre * cap + (edge < last ? edge : last)];
    const float *const from = points + 3 * source, *const to = centres + 3 * centre, *const row = y + source * width;
    const float dx = from[0] - to[0], dy = from[1] - to[1], dt = from[2] - to[2];
    for (int32_t c = 0; c < width; ++c) {
        float sum = SP_K_FMA(dx, w[c], row[c]);
        sum = SP_K_FMA(dy, w[width + c], sum);
        sum = SP_K_FMA(dt, w[2 * width + c], sum);
        out[c * column] = SP_K_MAX(sum, 0.0f);
    }
}

/* A row of x and its point beside it. A row past the last one is that again. */
static inline void sp_k_beside(const float *x, const float *points, int32_t row, int32_t left, int32_t width,
                               int32_t column, float *out)
{
    const int32_t from = row < left ? row : left - 1;
    for (int32_t c = 0; c < width; ++c)
        out[c * column] = x[from * width + c];
    for (int32_t axis = 0; axis < 3; ++axis)
        out[(width + axis) * column] = points[3 * from + axis];
}

/* out[i] = x[chosen[i]], row by row. */
static inline void sp_k_chosen(const float *x, const int32_t *chosen, int32_t left, int32_t width, float *out)
{
    for (int32_t i = 0; i < left; ++i)
        memcpy(out + i * width, x + chosen[i] * width, (size_t)width * sizeof *out);
}

/* What maxima begin with: 0 where there is nothing to be compared. */
static inline void sp_k_lowest(int32_t there, int32_t width, float *out)
{
    for (int32_t c = 0; c < width; ++c)
        out[c] = there > 0 ? -3.402823466e38f : 0.0f;
}

#ifdef __cplusplus
}
#endif
#endif
