/* Event words accepted from the link and not yet processed: a byte ring. */
#ifndef SP_APP_QUEUE_H_INCLUDED
#define SP_APP_QUEUE_H_INCLUDED

#include "link.h"

/* EVENTS frames the device accepts ahead of processing. A port may define less. */
#ifndef SP_APP_CREDITS
#define SP_APP_CREDITS 8u
#endif

#define APP_QUEUE_BYTES (SP_APP_CREDITS * SP_APP_PAYLOAD_BYTES)

/* Times of arrival that are told apart: pieces beyond them count as arrived with the one before. */
#define APP_QUEUE_ARRIVALS (2u * SP_APP_CREDITS)

typedef struct app_arrival {
    uint64_t end; /* bytes of the stream up to here ... */
    uint64_t at;  /* ... had come when the port's counter said this */
} app_arrival_t;

typedef struct app_queue {
    uint8_t bytes[APP_QUEUE_BYTES];
    size_t first;
    size_t filled;
    uint64_t dropped; /* bytes since the reset */
    app_arrival_t arrivals[APP_QUEUE_ARRIVALS];
    uint32_t first_arrival, arrival_count;
} app_queue_t;

void app_queue_reset(app_queue_t *queue);

/* Returns 0, and takes nothing, when n bytes do not fit. now: of the port's counter. */
int app_queue_put(app_queue_t *queue, const uint8_t *data, size_t n, uint64_t now);

/* The oldest bytes that lie in one piece; returns how many. */
size_t app_queue_peek(const app_queue_t *queue, const uint8_t **data);

void app_queue_drop(app_queue_t *queue, size_t n);

/* When the byte arrived that is `ahead` behind the last one dropped (0: that one), or the newest one if it has not come;
 * 0 before any. */
uint64_t app_queue_arrival(const app_queue_t *queue, size_t ahead);

/* Frames of the largest size that fit now. */
uint16_t app_queue_credits(const app_queue_t *queue);

#endif
