#include "tap.h"

void app_tap_init(app_tap_t *tap, size_t capacity, uint8_t *mem)
{
    tap->bytes = mem;
    tap->capacity = capacity;
    app_tap_reset(tap);
}

void app_tap_reset(app_tap_t *tap)
{
    tap->oldest = tap->total = 0;
}

size_t app_tap_room(const app_tap_t *tap)
{
    return tap->capacity - (size_t)(tap->total - tap->oldest);
}

void app_tap_add(app_tap_t *tap, const uint8_t *data, size_t n)
{
    if (tap->capacity == 0)
        return;
    for (size_t i = 0; i < n; i++)
        tap->bytes[(tap->total + i) % tap->capacity] = data[i];
    tap->total += n;
    if (tap->total - tap->oldest > tap->capacity)
        tap->oldest = tap->total - tap->capacity;
}

int app_tap_release(app_tap_t *tap, uint64_t index)
{
    if (index > tap->total)
        return 0;
    if (index > tap->oldest)
        tap->oldest = index;
    return 1;
}

size_t app_tap_copy(const app_tap_t *tap, uint8_t *out, size_t n)
{
    const size_t kept = tap->capacity - app_tap_room(tap);
    n = n < kept ? n : kept;
    for (size_t i = 0; i < n; i++)
        out[i] = tap->bytes[(tap->oldest + i) % tap->capacity];
    return n;
}
