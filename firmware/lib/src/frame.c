#include "spedge/frame.h"

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

/* COBS encoder over several pieces of input. */
typedef struct cobs {
    uint8_t *out;
    size_t capacity;
    size_t used; /* bytes of out, the open block's code byte included */
    size_t code; /* where that code byte is */
} cobs_t;

static int cobs_put(cobs_t *c, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t block = c->used - c->code;
        if (block == BLOCK_BYTES + 1) { /* full: it stands for no zero, another must follow */
            c->out[c->code] = 0xff;
            c->code = c->used;
            block = 1;
            if (c->used == c->capacity) {
                return SP_ERR_CAPACITY;
            }
            c->used++;
        }
        if (c->used == c->capacity) {
            return SP_ERR_CAPACITY;
        }
        if (in[i] != 0) {
            c->out[c->used++] = in[i];
        } else {
            c->out[c->code] = (uint8_t)block;
            c->code = c->used++;
        }
    }
    return SP_OK;
}

int sp_frame_encode(const sp_frame_t *frame, uint8_t *out, size_t capacity)
{
    uint8_t header[SP_FRAME_HEADER_BYTES];
    uint8_t *p = sp_put_u8(header, frame->type);
    p = sp_put_u8(p, frame->flags);
    p = sp_put_u16(p, frame->seq);
    sp_put_u32(p, frame->session);

    uint8_t tail[SP_FRAME_CRC_BYTES];
    sp_put_u32(tail, sp_crc32(sp_crc32(0, header, sizeof header), frame->payload, frame->length));

    if (capacity < 2) {
        return SP_ERR_CAPACITY;
    }
    cobs_t c = {out, capacity - 1, 1, 0}; /* one byte kept for the delimiter */
    if (cobs_put(&c, header, sizeof header) < 0 || cobs_put(&c, frame->payload, frame->length) < 0 ||
        cobs_put(&c, tail, sizeof tail) < 0) {
        return SP_ERR_CAPACITY;
    }
    out[c.code] = (uint8_t)(c.used - c.code);
    out[c.used] = 0;
    return (int)(c.used + 1);
}

/* Decode in place. Returns the length, or SP_ERR_FORMAT when a block runs past the end. */
static int cobs_decode(uint8_t *data, size_t n)
{
    size_t in = 0;
    size_t out = 0;
    while (in < n) {
        size_t code = data[in++]; /* never 0: the delimiter was cut off */
        size_t block = code - 1;
        if (block > n - in) {
            return SP_ERR_FORMAT;
        }
        memmove(data + out, data + in, block);
        in += block;
        out += block;
        if (code != 0xff && in < n) {
            data[out++] = 0;
        }
    }
    return (int)out;
}

/* The bytes between two delimiters are in the buffer. Returns 1 if they are a good frame. */
static int frame_open(sp_frame_reader_t *r, sp_frame_t *frame)
{
    int n = cobs_decode(r->buffer, r->filled);
    if (n < 0) {
        r->stats.corrupted++;
        return 0;
    }
    if (n < (int)(SP_FRAME_HEADER_BYTES + SP_FRAME_CRC_BYTES)) {
        r->stats.truncated++;
        return 0;
    }
    size_t body = (size_t)n - SP_FRAME_CRC_BYTES;
    if (sp_crc32(0, r->buffer, body) != sp_get_u32(r->buffer + body)) {
        r->stats.corrupted++;
        return 0;
    }
    frame->type = r->buffer[0];
    frame->flags = r->buffer[1];
    frame->seq = sp_get_u16(r->buffer + 2);
    frame->session = sp_get_u32(r->buffer + 4);
    frame->payload = r->buffer + SP_FRAME_HEADER_BYTES;
    frame->length = body - SP_FRAME_HEADER_BYTES;
    r->stats.frames++;
    return 1;
}

void sp_frame_reader_init(sp_frame_reader_t *reader, uint8_t *buffer, size_t capacity)
{
    memset(reader, 0, sizeof *reader);
    reader->buffer = buffer;
    reader->capacity = capacity;
}

int sp_frame_reader_feed(sp_frame_reader_t *r, const uint8_t *in, size_t n, size_t *used, sp_frame_t *frame)
{
    size_t at = 0;
    while (at < n) {
        const uint8_t *end = memchr(in + at, 0, n - at);
        size_t span = end != NULL ? (size_t)(end - (in + at)) : n - at;
        if (span > r->capacity - r->filled) {
            r->skipping = 1;
        }
        if (!r->skipping && span > 0) {
            memcpy(r->buffer + r->filled, in + at, span);
            r->filled += span;
        }
        at += span;
        if (end == NULL) {
            break;
        }
        at++;
        int good = 0;
        if (r->skipping) {
            r->stats.oversized++;
        } else if (r->filled > 0) {
            good = frame_open(r, frame);
        }
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
