/* All graphs of a model in one block of memory. */
#include "spedge/assert.h"
#include "spedge/error.h"
#include "spedge/graph.h"

#include <string.h>

static uint32_t table_words(const sp_graph_table_t *table)
{
    const uint32_t chosen = table->share > 0.0 ? 1u : 0u;
    return table->targets * (chosen + 1u + table->search.cap);
}

uint32_t sp_graph_plan_words(const sp_graph_plan_t *plan)
{
    uint32_t words = plan->count;
    for (uint32_t i = 0; i < plan->count; i++)
        words += table_words(&plan->tables[i]);
    return words;
}

size_t sp_graph_plan_work(const sp_graph_plan_t *plan)
{
    size_t most = 0;
    uint32_t points = plan->points;
    for (uint32_t i = 0; i < plan->count; i++) {
        const sp_graph_table_t *table = &plan->tables[i];
        const size_t nearest = table->share > 0.0 ? (size_t)points * sizeof(double) : 0;
        const size_t search = sp_graph_work_size(table->inside ? table->targets : points, table->search.cap);
        most = nearest > most ? nearest : most;
        most = search > most ? search : most;
        points = table->targets;
    }
    return most;
}

/* As many of n as the share says, at least one of any. */
static uint32_t sampled(double share, uint32_t n)
{
    const double exact = share * (double)n;
    const uint32_t whole = (uint32_t)exact;
    return whole < exact ? whole + 1u : whole;
}

static void *at(void *block, uint32_t offset)
{
    return (uint8_t *)block + offset;
}

/* Choose the targets and copy their points. */
static void sample(const sp_graph_plan_t *plan, const sp_graph_table_t *table, void *block, uint32_t n, uint32_t m,
                   uint32_t *chosen)
{
    const size_t point = 3u * (plan->single ? sizeof(float) : sizeof(double));
    const uint8_t *from = at(block, table->points_offset);
    uint8_t *to = at(block, table->kept_offset);
    void *nearest = at(block, plan->work_offset);

    if (plan->single)
        sp_graph_samplef((const float (*)[3])(const void *)from, n, 0, m, nearest, chosen);
    else
        sp_graph_sample((const double (*)[3])(const void *)from, n, 0, m, nearest, chosen);
    for (uint32_t i = 0; i < m; i++)
        memcpy(to + i * point, from + chosen[i] * point, point);
}

static int search(const sp_graph_plan_t *plan, const sp_graph_table_t *table, void *block, uint32_t n,
                  const uint32_t *centres, uint32_t m, uint32_t *sources, uint32_t *counts)
{
    const void *points = at(block, table->inside ? table->kept_offset : table->points_offset);
    void *work = at(block, plan->work_offset);

    return plan->single
               ? sp_graph_neighboursf(&table->search, points, n, centres, m, work, plan->work_bytes, sources, counts)
               : sp_graph_neighbours(&table->search, points, n, centres, m, work, plan->work_bytes, sources, counts);
}

static void take_out_loops(uint32_t m, uint32_t cap, uint32_t *sources, uint32_t *counts)
{
    for (uint32_t i = 0; i < m; i++) {
        uint32_t *row = &sources[(size_t)i * cap], kept = 0;
        for (uint32_t k = 0; k < counts[i]; k++)
            if (row[k] != i)
                row[kept++] = row[k];
        counts[i] = kept;
    }
}

/* In their place: the i-th float lies before the i-th double. */
static void to_floats(void *points, uint32_t numbers)
{
    for (uint32_t i = 0; i < numbers; i++) {
        double wide;
        memcpy(&wide, (const uint8_t *)points + i * sizeof wide, sizeof wide);
        const float narrow = (float)wide;
        memcpy((uint8_t *)points + i * sizeof narrow, &narrow, sizeof narrow);
    }
}

int sp_graph_build(const sp_graph_plan_t *plan, void *block, uint32_t n)
{
    SP_ASSERT(plan && block && plan->count > 0);
    uint32_t *left = at(block, plan->words_offset), *words = left + plan->count;

    if (n > plan->points)
        return SP_ERR_CAPACITY;
    if (plan->single)
        to_floats(at(block, plan->tables[0].points_offset), 3u * n);
    for (uint32_t i = 0; i < plan->count; i++) {
        const sp_graph_table_t *table = &plan->tables[i];
        const int samples = table->share > 0.0;
        const uint32_t m = samples ? sampled(table->share, n) : n;
        uint32_t *chosen = samples ? words : NULL;
        uint32_t *counts = words + (samples ? table->targets : 0), *sources = counts + table->targets;
        if (m > table->targets)
            return SP_ERR_CAPACITY;
        if (samples)
            sample(plan, table, block, n, m, chosen);
        const int rc =
            search(plan, table, block, table->inside ? m : n, table->inside ? NULL : chosen, m, sources, counts);
        if (rc != SP_OK)
            return rc;
        if (table->without_loops)
            take_out_loops(m, table->search.cap, sources, counts);
        left[i] = m;
        words += table_words(table);
        n = m;
    }
    return SP_OK;
}
