#include "results.h"

size_t app_results_size(uint32_t capacity, uint32_t numbers, uint32_t boxes)
{
    size_t entry = offsetof(app_inference_t, numbers) + numbers * sizeof(float) + boxes * sizeof(sp_box_t);
    return ((entry + 7u) & ~(size_t)7u) * (capacity + 1u);
}

void app_results_init(app_results_t *results, uint32_t capacity, uint32_t numbers, uint32_t boxes, void *mem)
{
    results->entries = mem;
    results->entry_bytes = app_results_size(0, numbers, boxes);
    results->numbers = numbers;
    results->boxes = boxes;
    results->capacity = capacity;
    app_results_reset(results);
}

void app_results_reset(app_results_t *results)
{
    results->oldest = results->total = results->pushed = 0;
    results->dropped = 0;
}

int app_results_has_room(const app_results_t *results)
{
    return results->capacity == 0 || results->total - results->oldest < results->capacity;
}

int app_results_has_sent_room(const app_results_t *results)
{
    return results->capacity == 0 || results->total - results->pushed < results->capacity;
}

app_inference_t *app_results_at(const app_results_t *results, uint32_t index)
{
    return (app_inference_t *)(void *)(results->entries + results->entry_bytes * (index % results->capacity));
}

app_inference_t *app_results_asked(const app_results_t *results)
{
    return (app_inference_t *)(void *)(results->entries + results->entry_bytes * results->capacity);
}

app_inference_t *app_results_next(app_results_t *results)
{
    if (!app_results_has_room(results)) {
        results->dropped += results->pushed <= results->oldest;
        results->oldest++;
    }
    if (results->pushed < results->oldest)
        results->pushed = results->oldest;
    return app_results_at(results, results->total++);
}

int app_results_release(app_results_t *results, uint32_t index)
{
    if (index > results->total)
        return 0;
    results->oldest = index > results->oldest ? index : results->oldest;
    results->pushed = results->oldest > results->pushed ? results->oldest : results->pushed;
    return 1;
}
