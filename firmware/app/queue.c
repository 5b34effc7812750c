#include "queue.h"

#include <string.h>

void app_queue_reset(app_queue_t *queue)
{
    queue->first = queue->filled = 0;
    queue->dropped = 0;
    queue->first_arrival = queue->arrival_count = 0;
}

static app_arrival_t *arrival(app_queue_t *queue, uint32_t i)
{
    return &queue->arrivals[(queue->first_arrival + i) % APP_QUEUE_ARRIVALS];
}

static void note_arrival(app_queue_t *queue, uint64_t now)
{
    if (queue->arrival_count < APP_QUEUE_ARRIVALS)
        arrival(queue, queue->arrival_count++)->at = now;
    arrival(queue, queue->arrival_count - 1u)->end = queue->dropped + queue->filled;
}

int app_queue_put(app_queue_t *queue, const uint8_t *data, size_t n, uint64_t now)
{
    if (n > APP_QUEUE_BYTES - queue->filled)
        return 0;
    size_t at = (queue->first + queue->filled) % APP_QUEUE_BYTES;
    size_t before_end = APP_QUEUE_BYTES - at < n ? APP_QUEUE_BYTES - at : n;
    memcpy(queue->bytes + at, data, before_end);
    memcpy(queue->bytes, data + before_end, n - before_end);
    queue->filled += n;
    note_arrival(queue, now);
    return 1;
}

size_t app_queue_peek(const app_queue_t *queue, const uint8_t **data)
{
    size_t before_end = APP_QUEUE_BYTES - queue->first;
    *data = queue->bytes + queue->first;
    return queue->filled < before_end ? queue->filled : before_end;
}

void app_queue_drop(app_queue_t *queue, size_t n)
{
    queue->first = (queue->first + n) % APP_QUEUE_BYTES;
    queue->filled -= n;
    queue->dropped += n;
    while (queue->arrival_count > 0 && arrival(queue, 0)->end < queue->dropped) {
        queue->first_arrival = (queue->first_arrival + 1u) % APP_QUEUE_ARRIVALS;
        queue->arrival_count--;
    }
}

uint64_t app_queue_arrival(const app_queue_t *queue, size_t ahead)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < queue->arrival_count; i++) {
        const app_arrival_t *a = &queue->arrivals[(queue->first_arrival + i) % APP_QUEUE_ARRIVALS];
        at = a->at;
        if (a->end >= queue->dropped + ahead)
            break;
    }
    return at;
}

uint16_t app_queue_credits(const app_queue_t *queue)
{
    return (uint16_t)((APP_QUEUE_BYTES - queue->filled) / SP_APP_PAYLOAD_BYTES);
}
