/* The graph of points in one kind of number: graph.c includes this with REAL and NAMED(name) for each. */

static int NAMED(before)(const REAL (*points)[3], uint32_t a, uint32_t b)
{
    return points[a][T] < points[b][T] || (points[a][T] == points[b][T] && a < b);
}

static void NAMED(sift)(const REAL (*points)[3], uint32_t *order, uint32_t n, uint32_t at)
{
    const uint32_t moved = order[at];

    for (uint32_t child; (child = 2u * at + 1u) < n; at = child) {
        if (child + 1u < n && NAMED(before)(points, order[child], order[child + 1u]))
            child++;
        if (!NAMED(before)(points, moved, order[child]))
            break;
        order[at] = order[child];
    }
    order[at] = moved;
}

/* Numbers of the points in order of time. Heapsort: tokens come sorted, samples of them do not, and the stack is small. */
static void NAMED(sort)(const REAL (*points)[3], uint32_t *order, uint32_t n)
{
    int sorted = 1;

    for (uint32_t i = 0; i < n; i++) {
        order[i] = i;
        sorted &= i == 0 || points[i - 1u][T] <= points[i][T];
    }
    if (sorted)
        return;
    for (uint32_t i = n / 2u; i-- > 0;)
        NAMED(sift)(points, order, n, i);
    for (uint32_t i = n; i-- > 1;) {
        const uint32_t last = order[0];
        order[0] = order[i];
        order[i] = last;
        NAMED(sift)(points, order, i, 0);
    }
}

/* The first place in order that is less than radius before a time, rounded as distances are. */
static uint32_t NAMED(first_in_reach)(const REAL (*points)[3], const uint32_t *order, uint32_t n, REAL t, REAL radius)
{
    uint32_t low = 0;

    while (n > 0) {
        const uint32_t half = n / 2u;
        if (t - points[order[low + half]][T] >= radius) {
            low += half + 1u;
            n -= half + 1u;
        } else {
            n = half;
        }
    }
    return low;
}

static REAL NAMED(squared_distance)(const REAL *a, const REAL *b)
{
    const REAL dx = a[X] - b[X], dy = a[Y] - b[Y], dt = a[T] - b[T];
    return dx * dx + dy * dy + dt * dt;
}

/* Put a point among those kept, by distance and then number; returns how many are kept. */
static uint32_t NAMED(keep)(uint32_t *kept, REAL *distances, uint32_t count, uint32_t cap, uint32_t point,
                            REAL distance)
{
    uint32_t at = count;

    if (count == cap) {
        if (distance > distances[cap - 1u] || (distance == distances[cap - 1u] && point > kept[cap - 1u]))
            return cap;
        at = cap - 1u;
    }
    for (; at > 0 && (distance < distances[at - 1u] || (distance == distances[at - 1u] && point < kept[at - 1u]));
         at--) {
        kept[at] = kept[at - 1u];
        distances[at] = distances[at - 1u];
    }
    kept[at] = point;
    distances[at] = distance;
    return count < cap ? count + 1u : cap;
}

int NAMED(sp_graph_neighbours)(const sp_graph_search_t *search, const REAL (*points)[3], uint32_t n,
                               const uint32_t *centres, uint32_t m, void *work, size_t work_size, uint32_t *sources,
                               uint32_t *counts)
{
    const REAL radius = (REAL)search->radius, reach = radius * radius;
    const int rc = check(search, n, work, work_size);
    if (rc != SP_OK)
        return rc;
    REAL *distances = work;
    uint32_t *order = (uint32_t *)(void *)((double *)work + search->cap);

    NAMED(sort)(points, order, n);
    for (uint32_t i = 0; i < m; i++) {
        const uint32_t centre = centres ? centres[i] : i;
        const REAL *c = points[centre];
        uint32_t *kept = &sources[(size_t)i * search->cap];
        uint32_t count = 0;
        for (uint32_t k = NAMED(first_in_reach)(points, order, n, c[T], radius); k < n; k++) {
            const uint32_t point = order[k];
            if (points[point][T] - c[T] >= radius)
                break;
            const REAL distance = NAMED(squared_distance)(points[point], c);
            if (distance < reach && (search->self || point != centre))
                count = NAMED(keep)(kept, distances, count, search->cap, point,
                                    search->rule == SP_GRAPH_LOWEST ? (REAL)0 : distance);
        }
        counts[i] = count;
    }
    return SP_OK;
}

void NAMED(sp_graph_sample)(const REAL (*points)[3], uint32_t n, uint32_t start, uint32_t m, REAL *nearest,
                            uint32_t *chosen)
{
    uint32_t last = start;

    SP_ASSERT(m == 0 || (m <= n && start < n));
    for (uint32_t i = 0; i < m; i++) {
        const REAL *newest = points[last];
        REAL most = (REAL)-1;
        uint32_t farthest = 0;
        chosen[i] = last;
        for (uint32_t k = 0; k < n; k++) {
            const REAL distance = NAMED(squared_distance)(points[k], newest);
            if (i == 0 || distance < nearest[k])
                nearest[k] = distance;
            if (nearest[k] > most) {
                most = nearest[k];
                farthest = k;
            }
        }
        last = farthest;
    }
}
