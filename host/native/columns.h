/* Event arrays of Python as they are: one pointer and one stride per field. Host only. */
#ifndef SP_COLUMNS_H_INCLUDED
#define SP_COLUMNS_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "record.h"

/* t: 8 bytes; x, y: 2 bytes; p: p_bytes (1 or 2), 0/1 or, if signed, -1/0/+1. Any alignment. */
typedef struct sp_columns {
    const uint8_t *t, *x, *y, *p;
    ptrdiff_t t_stride, x_stride, y_stride, p_stride; /* bytes */
    uint8_t t_signed, x_signed, y_signed, p_signed, p_bytes;
} sp_columns_t;

/* Whether the events lie as records of the output's own layout (EVENT_DTYPE). */
int sp_columns_are_records(const sp_columns_t *c);

/* Index of the first event of from .. to that is older than its predecessor (or last_t), outside the sensor, negative, or of
 * no polarity; `to` if all are good. */
size_t sp_columns_check(const sp_columns_t *c, size_t from, size_t to, uint64_t last_t, uint32_t width,
                        uint32_t height);

/* Events that have been checked ahead, as many as stay in the cache until they are taken. */
#define SP_AHEAD 8192u
typedef struct sp_ahead {
    size_t from, to;
    uint32_t pixels[SP_AHEAD]; /* x | y << 16, of records only, where to find them again takes long */
} sp_ahead_t;

/* Check some events from `to` on, of n, none older than last_t. 0 if there is a wrong one among them: at a->to. */
int sp_columns_check_ahead(const sp_columns_t *c, sp_ahead_t *a, size_t n, uint64_t last_t, uint32_t width,
                           uint32_t height);

SP_INLINE uint64_t sp_load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

SP_INLINE uint64_t sp_columns_time(const sp_columns_t *c, size_t i)
{
    return sp_load_u64(c->t + (ptrdiff_t)i * c->t_stride);
}

/* How a pixel's patch is found. */
typedef struct sp_grid {
    uint32_t columns, rows, patch_size;
    uint32_t shift;      /* log2(patch_size) where it is a power of two */
    uint32_t reciprocal; /* 0 then, else ceil(2^32 / patch_size) */
} sp_grid_t;

sp_grid_t sp_grid(uint32_t width, uint32_t height, uint32_t patch_size);

/* A stretch of events, ready for the loops. Those that lie in memory as records of the output, with bytes of the next
 * behind each, stay where they are; of others the second half of a record is made. */
#define SP_BATCH 256u
typedef struct sp_batch {
    const uint8_t *t; /* times, 8 bytes apart; or records, which begin with them */
    int are_records;
    const sp_columns_t *columns;
    size_t first;
    uint32_t patch[SP_BATCH];
    uint32_t tails[2u * SP_BATCH]; /* x | y << 16 and p: the last 5 bytes of a record, and 3 of 0 */
    uint8_t copied[SP_BATCH * SP_RECORD + 8u];
} sp_batch_t;

/* The patches of the events first .. first + count, good ones, which `ahead` has if it is given. */
void sp_patches_of(uint32_t *patch, const sp_columns_t *c, const sp_grid_t *grid, const sp_ahead_t *ahead, size_t first,
                   size_t count);

/* From an event of the batch to the next. records: whether the events are; a constant, so that loops are compiled for each. */
SP_INLINE size_t sp_batch_step(int records)
{
    return records ? SP_RECORD : 8u;
}

/* Where an event is. */
SP_INLINE const uint8_t *sp_batch_place(const sp_batch_t *b, size_t event, int records)
{
    return b->t + event * sp_batch_step(records);
}

/* The record of an event, which is at `place`, to `to`, of which 16 bytes are written: 3 more than a record has. */
SP_INLINE void sp_batch_write_from(const sp_batch_t *b, size_t event, const uint8_t *place, uint8_t *to, int records)
{
    uint64_t whole[2];
    memcpy(whole, place, records ? SP_RECORD_ROOM : 8);
    if (!records)
        memcpy(&whole[1], b->tails + 2u * event, 8);
    memcpy(to, whole, SP_RECORD_ROOM);
}

SP_INLINE void sp_batch_write(const sp_batch_t *b, size_t event, uint8_t *to, int records)
{
    sp_batch_write_from(b, event, sp_batch_place(b, event, records), to, records);
}

/* Fill b with the events first .. first + count (count at most SP_BATCH) of n good ones. The tails are for sp_batch_tails;
 * b->patch is the caller's to fill. */
void sp_batch_load(sp_batch_t *b, const sp_columns_t *c, size_t n, size_t first, size_t count);

/* The tails, unless the events are records, of the batch's n events, or at least of those `count` that list numbers. */
void sp_batch_tails(sp_batch_t *b, size_t n, const uint16_t *list, size_t count);

#endif
