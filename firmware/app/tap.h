/* The bytes of a source on the board, kept for the host to read as they came. */
#ifndef SP_APP_TAP_H_INCLUDED
#define SP_APP_TAP_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

/* Bytes kept, of the session's memory. */
#ifndef SP_APP_TAP_BYTES
#define SP_APP_TAP_BYTES 8192u
#endif

/* A ring: of the bytes since the stream began, oldest .. total - 1 are kept, byte i at i % capacity. */
typedef struct app_tap {
    uint8_t *bytes;
    size_t capacity; /* 0: nothing is kept */
    uint64_t oldest;
    uint64_t total;
} app_tap_t;

void app_tap_init(app_tap_t *tap, size_t capacity, uint8_t *mem);
void app_tap_reset(app_tap_t *tap);

/* Bytes that can be added before the oldest are overwritten. */
size_t app_tap_room(const app_tap_t *tap);

/* Add bytes, at most the capacity; the oldest make room. */
void app_tap_add(app_tap_t *tap, const uint8_t *data, size_t n);

/* Drop the bytes before index. Returns 0, and changes nothing, for an index after the newest byte. */
int app_tap_release(app_tap_t *tap, uint64_t index);

/* Copy the oldest bytes, at most n, to out; returns how many. They stay. */
size_t app_tap_copy(const app_tap_t *tap, uint8_t *out, size_t n);

#endif
