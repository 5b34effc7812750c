#include "spedge/graph.h"

#include "spedge/assert.h"
#include "spedge/error.h"

enum { X, Y, T }; /* of a point */

/* Room for a number and a distance of each neighbour kept, and the points' numbers in order of time. */
static uint64_t work_bytes(uint64_t n, uint64_t cap)
{
    return cap * sizeof(double) + n * sizeof(uint32_t);
}

size_t sp_graph_work_size(uint32_t n, uint32_t cap)
{
    const uint64_t bytes = work_bytes(n, cap);
    return bytes > SIZE_MAX ? 0 : (size_t)bytes;
}

static int check(const sp_graph_search_t *search, uint32_t n, const void *work, size_t size)
{
    if (search->cap == 0 || !(search->radius > 0.0))
        return SP_ERR_CONFIG;
    if (!work || (uintptr_t)work % 8u != 0 || size < work_bytes(n, search->cap))
        return SP_ERR_CAPACITY;
    return SP_OK;
}

#define REAL double
#define NAMED(name) name
#include "graph_points.h"
#undef REAL
#undef NAMED

#define REAL float
#define NAMED(name) name##f
#include "graph_points.h"
