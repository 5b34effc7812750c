/* The link's framing (SPEC.md): COBS, header, CRC-32. */
#ifndef SP_FRAME_H_INCLUDED
#define SP_FRAME_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SP_FRAME_HEADER_BYTES 8u
#define SP_FRAME_CRC_BYTES 4u

typedef struct sp_frame {
    uint8_t type;
    uint8_t flags;
    uint16_t seq;
    uint32_t session;
    const uint8_t *payload;
    size_t length;
} sp_frame_t;

typedef struct sp_frame_reader_stats {
    uint64_t frames;    /* good */
    uint64_t corrupted; /* COBS or CRC wrong */
    uint64_t oversized; /* longer than the buffer */
    uint64_t truncated; /* shorter than header and CRC */
} sp_frame_reader_stats_t;

/* Collects bytes until a frame is whole. buffer is the caller's, capacity the longest encoded frame accepted. */
typedef struct sp_frame_reader {
    uint8_t *buffer;
    size_t capacity;
    size_t filled;
    uint8_t skipping;
    sp_frame_reader_stats_t stats;
} sp_frame_reader_t;

/* CRC-32 (IEEE 802.3, as zlib): start with crc 0, chain by passing the result back. */
uint32_t sp_crc32(uint32_t crc, const void *data, size_t n);

/* Most bytes an encoded frame of that payload takes, delimiter included. */
size_t sp_frame_max_encoded(size_t payload);

/* Write delimiter-terminated bytes to out; returns their number or SP_ERR_CAPACITY. out must not overlap the payload. */
int sp_frame_encode(const sp_frame_t *frame, uint8_t *out, size_t capacity);

void sp_frame_reader_init(sp_frame_reader_t *reader, uint8_t *buffer, size_t capacity);

/* Take bytes until a good frame is whole. Returns 1 with *frame valid until the next call, or 0 when all n bytes
 * are used up. Bad frames are counted and skipped; never fails, never blocks. */
int sp_frame_reader_feed(sp_frame_reader_t *reader, const uint8_t *in, size_t n, size_t *used, sp_frame_t *frame);

#ifdef __cplusplus
}
#endif
#endif
