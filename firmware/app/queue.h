/* Event words accepted from the link and not yet processed: a byte ring. */
#ifndef SP_APP_QUEUE_H_INCLUDED
#define SP_APP_QUEUE_H_INCLUDED

#include "link.h"

/* EVENTS frames the device accepts ahead of processing. A port may define less. */
#ifndef SP_APP_CREDITS
#define SP_APP_CREDITS 8u
#endif

#define APP_QUEUE_BYTES (SP_APP_CREDITS * SP_APP_PAYLOAD_BYTES)

typedef struct app_queue {
    uint8_t bytes[APP_QUEUE_BYTES];
    size_t first;
    size_t filled;
} app_queue_t;

void app_queue_reset(app_queue_t *queue);

/* Returns 0, and takes nothing, when n bytes do not fit. */
int app_queue_put(app_queue_t *queue, const uint8_t *data, size_t n);

/* The oldest bytes that lie in one piece; returns how many. */
size_t app_queue_peek(const app_queue_t *queue, const uint8_t **data);

void app_queue_drop(app_queue_t *queue, size_t n);

/* Frames of the largest size that fit now. */
uint16_t app_queue_credits(const app_queue_t *queue);

#endif
