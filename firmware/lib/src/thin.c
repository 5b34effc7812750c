#include "spedge/thin.h"

#include "spedge/assert.h"

#include <string.h>

static uint32_t sides(uint16_t pixels, uint16_t patch_size)
{
    return ((uint32_t)pixels + patch_size - 1u) / patch_size;
}

size_t sp_thin_size(uint16_t width, uint16_t height, uint16_t patch_size)
{
    if (width == 0 || height == 0 || patch_size == 0)
        return 0;
    return (size_t)sides(width, patch_size) * sides(height, patch_size) * sizeof(int16_t);
}

void sp_thin_init(sp_thin_t *thin, uint16_t width, uint16_t height, uint16_t patch_size, void *mem)
{
    SP_ASSERT(width > 0 && height > 0 && patch_size > 0);
    SP_ASSERT(mem && (uintptr_t)mem % sizeof *thin->debts == 0);
    thin->debts = mem;
    thin->columns = sides(width, patch_size);
    thin->rows = sides(height, patch_size);
    thin->patch_size = patch_size;
    sp_thin_reset(thin);
}

void sp_thin_reset(sp_thin_t *thin)
{
    memset(thin->debts, 0, (size_t)thin->columns * thin->rows * sizeof *thin->debts);
    thin->random = 2463534242u;
}

/* A number below 256 (Marsaglia's xorshift32). */
static int32_t draw(sp_thin_t *thin)
{
    uint32_t r = thin->random;
    r ^= r << 13;
    r ^= r >> 17;
    r ^= r << 5;
    thin->random = r;
    return (int32_t)(r >> 24);
}

size_t sp_thin_events(sp_thin_t *thin, sp_event_t *events, size_t n, uint32_t keep)
{
    size_t kept = 0;

    if (keep >= SP_THIN_ALL)
        return n;
    for (size_t i = 0; i < n; i++) {
        const uint32_t column = events[i].x / thin->patch_size, row = events[i].y / thin->patch_size;
        int16_t *debt =
            &thin->debts[(row < thin->rows ? row : 0) * thin->columns + (column < thin->columns ? column : 0)];
        const int32_t owed = *debt + (int32_t)keep; /* -256 < debt < 256 */
        const int takes = owed > draw(thin);
        *debt = (int16_t)(takes ? owed - (int32_t)SP_THIN_ALL : owed);
        if (takes)
            events[kept++] = events[i];
    }
    return kept;
}
