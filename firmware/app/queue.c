#include "queue.h"

#include <string.h>

void app_queue_reset(app_queue_t *queue) { queue->first = queue->filled = 0; }

int app_queue_put(app_queue_t *queue, const uint8_t *data, size_t n)
{
    if (n > APP_QUEUE_BYTES - queue->filled) {
        return 0;
    }
    size_t at = (queue->first + queue->filled) % APP_QUEUE_BYTES;
    size_t before_end = APP_QUEUE_BYTES - at < n ? APP_QUEUE_BYTES - at : n;
    memcpy(queue->bytes + at, data, before_end);
    memcpy(queue->bytes, data + before_end, n - before_end);
    queue->filled += n;
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
}

uint16_t app_queue_credits(const app_queue_t *queue)
{
    return (uint16_t)((APP_QUEUE_BYTES - queue->filled) / SP_APP_PAYLOAD_BYTES);
}
