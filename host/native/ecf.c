#include "ecf.h"

#include <string.h>

#include "inline.h"
#include "spedge/error.h"

#define HEAD_BYTES 4u
#define PACKED_ROWS 2u    /* of the header: all fields but the times in words of 24 bits */
#define PACKED_COLUMNS 1u /* columns and polarities in words of 12 bits */

/* A block that is read from front to back. */
typedef struct block {
    const uint8_t *at, *end;
    int is_short; /* it was read beyond its end */
} block_t;

/* The next little-endian number. */
SP_INLINE uint64_t take(block_t *b, size_t size)
{
    uint64_t value = 0;
    if ((size_t)(b->end - b->at) < size) {
        b->is_short = 1;
        b->at = b->end;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)b->at[i] << 8u * i;
    b->at += size;
    return value;
}

SP_INLINE uint32_t take32(block_t *b, size_t size)
{
    return (uint32_t)take(b, size);
}

/* A count of some bits; the largest says that it follows. */
SP_INLINE size_t run_of(block_t *b, uint32_t count, uint32_t largest)
{
    return count == largest ? take32(b, 2) : count;
}

SP_INLINE size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Runs of equal times: a byte of 4 bits difference and 4 bits count; 15 means that more follows. */
static void take_times(block_t *b, sp_event_t *out, size_t n)
{
    uint64_t t = take(b, 8);
    for (size_t i = 0; i < n && !b->is_short;) {
        uint32_t byte = take32(b, 1);
        if (byte >> 4 != 15u) {
            t += byte >> 4;
            for (size_t left = smaller(run_of(b, byte & 15u, 15), n - i); left > 0; left--)
                out[i++].t = t;
            continue;
        }
        uint64_t difference = 0;
        for (uint32_t shift = 0; byte >> 4 == 15u && shift < 64u && !b->is_short; shift += 4) {
            difference |= (uint64_t)(byte & 15u) << shift;
            byte = take32(b, 1);
        }
        t += difference;
        b->at -= !b->is_short; /* the byte after them starts a run */
    }
}

/* Runs of equal rows: 11 bits row and 5 bits count. */
static void take_rows(block_t *b, sp_event_t *out, size_t n)
{
    for (size_t i = 0; i < n && !b->is_short;) {
        const uint32_t word = take32(b, 2);
        for (size_t left = smaller(run_of(b, word & 31u, 31), n - i); left > 0; left--)
            out[i++].y = (uint16_t)(word >> 5);
    }
}

/* A column, and a mask of those of the next five that follow. */
static void take_columns(block_t *b, sp_event_t *out, size_t n)
{
    for (size_t i = 0; i < n && !b->is_short;) {
        const uint32_t word = take32(b, 2);
        out[i++].x = (uint16_t)(word >> 5);
        for (uint32_t k = 0; k < 5u && i < n; k++)
            if (word >> (4u - k) & 1u)
                out[i++].x = (uint16_t)((word >> 5) + k + 1u);
    }
}

/* Runs of equal polarities: a bit and 7 bits count. */
static void take_polarities(block_t *b, sp_event_t *out, size_t n)
{
    for (size_t i = 0; i < n && !b->is_short;) {
        const uint32_t byte = take32(b, 1);
        for (size_t left = smaller(run_of(b, byte & 127u, 127), n - i); left > 0; left--)
            out[i++].p = (uint8_t)(byte >> 7);
    }
}

SP_INLINE void put_packed(sp_event_t *out, uint32_t bits, int rows)
{
    if (rows)
        out->y = (uint16_t)(bits >> 12 & 0x7ffu);
    out->x = (uint16_t)(bits >> 1 & 0x7ffu);
    out->p = (uint8_t)(bits & 1u);
}

/* Four events in three words: 12 bits column and polarity each, or 24 with the row before them. */
SP_INLINE void take_packed(block_t *b, sp_event_t *out, size_t n, int rows)
{
    const size_t bytes = rows ? 4 : 2;
    for (size_t i = 0; i < n && !b->is_short; i += 4) {
        const uint32_t first = take32(b, bytes), second = take32(b, bytes), third = take32(b, bytes);
        const uint32_t wide[4] = {first >> 8, (first & 0xffu) | second >> 16 << 8,
                                  (second & 0xffffu) | third >> 24 << 16, third & 0xffffffu};
        const uint32_t narrow[4] = {first >> 4, (first & 15u) | second >> 8 << 4, (second & 0xffu) | third >> 12 << 8,
                                    third & 0xfffu};
        for (size_t k = 0; k < 4u && i + k < n; k++)
            put_packed(&out[i + k], rows ? wide[k] : narrow[k], rows);
    }
}

int32_t sp_ecf_count(const uint8_t *block, size_t n)
{
    block_t b = {block, block + n, 0};
    const uint32_t count = take32(&b, HEAD_BYTES) >> 2;
    return b.is_short || count > SP_ECF_EVENTS_MAX ? SP_ERR_FORMAT : (int32_t)count;
}

int sp_ecf_decode(const uint8_t *block, size_t n, sp_event_t *events)
{
    block_t b = {block, block + n, 0};
    const uint32_t head = take32(&b, HEAD_BYTES);
    const size_t count = head >> 2;

    memset(events, 0, count * sizeof *events);
    take_times(&b, events, count);
    if (head & PACKED_ROWS) {
        take_packed(&b, events, count, 1);
    } else {
        take_rows(&b, events, count);
        if (head & PACKED_COLUMNS) {
            take_packed(&b, events, count, 0);
        } else {
            take_columns(&b, events, count);
            take_polarities(&b, events, count);
        }
    }
    return b.is_short ? SP_ERR_FORMAT : SP_OK;
}
