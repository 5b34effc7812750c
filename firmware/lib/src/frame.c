#include "spedge/frame.h"

#include "inline.h"
#include "spedge/assert.h"
#include "spedge/error.h"
#include "spedge/wire.h"

#include <string.h>

/* A COBS block is a code byte and up to 254 bytes without a zero. */
#define BLOCK_BYTES 254u

size_t sp_frame_max_encoded(size_t payload)
{
    size_t body = SP_FRAME_HEADER_BYTES + payload + SP_FRAME_CRC_BYTES;
    return body + body / BLOCK_BYTES + 2; /* first code byte and delimiter */
}

/* How many bytes come before the first zero; n when there is none. */
#if defined(__aarch64__)

#define EACH_BYTE UINT64_C(0x0101010101010101)

/* The top bit of some byte is set when a byte is 0, and only then. */
SP_INLINE uint64_t zeros(const uint8_t *in)
{
    uint64_t word;
    memcpy(&word, in, sizeof word);
    return (word - EACH_BYTE) & ~word;
}

/* The C library does it by vector instructions, for which an emulator takes ten times as long; a chip gains little. */
static size_t before_zero(const uint8_t *in, size_t n)
{
    size_t at = 0;
    while (n - at >= 32 &&
           !((zeros(in + at) | zeros(in + at + 8) | zeros(in + at + 16) | zeros(in + at + 24)) & EACH_BYTE << 7)) {
        at += 32;
    }
    while (at < n && in[at] != 0)
        at++;
    return at;
}

#else

static size_t before_zero(const uint8_t *in, size_t n)
{
    const uint8_t *end = memchr(in, 0, n);
    return end != NULL ? (size_t)(end - in) : n;
}

#endif

/* COBS encoder over several pieces of input. */
typedef struct cobs {
    uint8_t *out;
    size_t capacity;
    size_t used; /* bytes of out, the open block's code byte included */
    size_t code; /* where that code byte is */
} cobs_t;

static int cobs_put(cobs_t *c, const uint8_t *in, size_t n)
{
    while (n > 0) {
        size_t room = BLOCK_BYTES + 1 - (c->used - c->code);
        if (room == 0) { /* full: it stands for no zero, another must follow */
            if (c->used == c->capacity)
                return SP_ERR_CAPACITY;
            c->out[c->code] = 0xff;
            c->code = c->used++;
            room = BLOCK_BYTES;
        }
        const size_t most = n < room ? n : room;
        const size_t span = before_zero(in, most);
        const size_t taken = span + (span < most); /* with the zero */
        if (taken > c->capacity - c->used)
            return SP_ERR_CAPACITY;
        memcpy(c->out + c->used, in, span);
        c->used += span;
        if (span < most) {
            c->out[c->code] = (uint8_t)(c->used - c->code);
            c->code = c->used++;
        }
        in += taken;
        n -= taken;
    }
    return SP_OK;
}

/* Whether two blocks of memory share a byte. */
SP_INLINE int overlap(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    const uintptr_t a_at = (uintptr_t)a, b_at = (uintptr_t)b;
    return a_at < b_at ? b_at - a_at < a_size : a_at - b_at < b_size;
}

int sp_frame_encode(const sp_frame_t *frame, uint8_t *out, size_t capacity)
{
    SP_ASSERT(frame && (frame->payload || frame->length == 0) && (out || capacity == 0));
    SP_ASSERT(!overlap(frame->payload, frame->length, out, capacity));
    uint8_t header[SP_FRAME_HEADER_BYTES];
    uint8_t *p = sp_put_u8(header, frame->type);
    p = sp_put_u8(p, frame->flags);
    p = sp_put_u16(p, frame->seq);
    sp_put_u32(p, frame->session);

    uint8_t tail[SP_FRAME_CRC_BYTES];
    sp_put_u32(tail, sp_crc32(sp_crc32(0, header, sizeof header), frame->payload, frame->length));

    if (capacity < 2)
        return SP_ERR_CAPACITY;
    cobs_t c = {out, capacity - 1, 1, 0}; /* one byte kept for the delimiter */
    if (cobs_put(&c, header, sizeof header) < 0 || cobs_put(&c, frame->payload, frame->length) < 0 ||
        cobs_put(&c, tail, sizeof tail) < 0) {
        return SP_ERR_CAPACITY;
    }
    out[c.code] = (uint8_t)(c.used - c.code);
    out[c.used] = 0;
    return (int)(c.used + 1);
}

/* Decode in place; the body begins at data + 1. Returns its length, or SP_ERR_FORMAT when a block runs past the end.
 * Nearly all bytes are where they belong: a code byte lies where the zero is that its block follows. Only a full block
 * is followed by no zero, so that the code byte behind it drops out and the rest moves up. n is at least 1. */
static int cobs_decode(uint8_t *data, size_t n)
{
    size_t from = 1, to = 1; /* what lies from `from` on belongs to `to` */
    size_t code = data[0];   /* never 0: the delimiter was cut off */
    size_t next = code;
    while (next < n) {
        const size_t full = code > BLOCK_BYTES;
        code = data[next];
        data[next] = 0;
        if (full) {
            memmove(data + to, data + from, next - from);
            to += next - from;
            from = next + 1;
        }
        next += code;
    }
    if (next > n)
        return SP_ERR_FORMAT;
    if (to < from)
        memmove(data + to, data + from, n - from);
    return (int)(to + (n - from) - 1u);
}

/* The bytes between two delimiters are in the buffer. Returns 1 if they are a good frame. */
static int frame_open(sp_frame_reader_t *r, sp_frame_t *frame)
{
    const uint8_t *body = r->buffer + 1;
    int n = cobs_decode(r->buffer, r->filled);
    if (n < 0) {
        r->stats.corrupted++;
        return 0;
    }
    if (n < (int)(SP_FRAME_HEADER_BYTES + SP_FRAME_CRC_BYTES)) {
        r->stats.truncated++;
        return 0;
    }
    size_t covered = (size_t)n - SP_FRAME_CRC_BYTES;
    if (sp_crc32(0, body, covered) != sp_get_u32(body + covered)) {
        r->stats.corrupted++;
        return 0;
    }
    frame->type = body[0];
    frame->flags = body[1];
    frame->seq = sp_get_u16(body + 2);
    frame->session = sp_get_u32(body + 4);
    frame->payload = body + SP_FRAME_HEADER_BYTES;
    frame->length = covered - SP_FRAME_HEADER_BYTES;
    r->stats.frames++;
    return 1;
}

void sp_frame_reader_init(sp_frame_reader_t *reader, uint8_t *buffer, size_t capacity)
{
    SP_ASSERT(reader && buffer && capacity > 0);
    memset(reader, 0, sizeof *reader);
    reader->buffer = buffer;
    reader->capacity = capacity;
}

int sp_frame_reader_feed(sp_frame_reader_t *r, const uint8_t *in, size_t n, size_t *used, sp_frame_t *frame)
{
    size_t at = 0;
    SP_ASSERT(r && r->buffer && used && frame && (in || n == 0));
    while (at < n) {
        const size_t span = before_zero(in + at, n - at);
        if (span > r->capacity - r->filled)
            r->skipping = 1;
        if (!r->skipping && span > 0) {
            memcpy(r->buffer + r->filled, in + at, span);
            r->filled += span;
        }
        at += span;
        if (at == n)
            break;
        at++;
        int good = 0;
        if (r->skipping)
            r->stats.oversized++;
        else if (r->filled > 0)
            good = frame_open(r, frame);
        r->skipping = 0;
        r->filled = 0;
        if (good) {
            *used = at;
            return 1;
        }
    }
    *used = at;
    return 0;
}
