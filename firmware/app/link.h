/* Frames in and out over the port's bytes: one request at a time, its reply before the next. */
#ifndef SP_APP_LINK_H_INCLUDED
#define SP_APP_LINK_H_INCLUDED

#include "spedge/frame.h"

/* Largest payload of a frame, either way. A port may define less. */
#ifndef SP_APP_PAYLOAD_BYTES
#define SP_APP_PAYLOAD_BYTES 1024u
#endif
#if SP_APP_PAYLOAD_BYTES < 384 || SP_APP_PAYLOAD_BYTES > 65535
#error "SP_APP_PAYLOAD_BYTES: STATS needs 384 bytes, and its field for the limit has 16 bits"
#endif

/* Bytes read from the port at once. */
#ifndef SP_APP_CHUNK_BYTES
#define SP_APP_CHUNK_BYTES 64u
#endif

/* The encoded size of the largest frame (sp_frame_max_encoded as a constant). */
#define APP_FRAME_BYTES \
    (SP_APP_PAYLOAD_BYTES + SP_FRAME_HEADER_BYTES + SP_FRAME_CRC_BYTES + \
     (SP_APP_PAYLOAD_BYTES + SP_FRAME_HEADER_BYTES + SP_FRAME_CRC_BYTES) / 254u + 2u)

/* Where the bytes of a frame come to lie, so that its body, one byte behind, is aligned and its payload, too. */
#define APP_FRAME_OFFSET 7u

typedef struct app_link {
    sp_frame_reader_t reader;
    uint8_t frame[APP_FRAME_OFFSET + APP_FRAME_BYTES];
    uint8_t chunk[SP_APP_CHUNK_BYTES]; /* read from the port, not yet given to the reader */
    size_t chunk_used;
    size_t chunk_filled;
    uint8_t out[APP_FRAME_BYTES];
    size_t out_used;
    size_t out_filled;
} app_link_t;

void app_link_init(app_link_t *link);

/* Write what waits. Returns 1 while some is left. */
int app_link_send(app_link_t *link);

/* Whether some is left to write. */
int app_link_is_busy(const app_link_t *link);

/* Read until a frame is whole or no bytes are left. Returns 1 with *frame (valid until the next call), else 0;
 * *busy is set to 1 when bytes came. */
int app_link_receive(app_link_t *link, sp_frame_t *frame, int *busy);

/* Another connection: what the last one has not been told is for nobody. With all, neither is what it has said. */
void app_link_renew(app_link_t *link, int all);

/* An ERROR that nobody asked for, of session 0, and in front a 0 that ends a frame that was cut. Returns its bytes, 0
 * where they do not fit: at most 80 with a text of 50. */
size_t app_link_error(uint16_t code, const char *text, uint32_t detail_a, uint32_t detail_b, uint8_t *out,
                      size_t capacity);

/* Queue a frame; nothing else may be waiting (app_link_send returned 0). */
void app_link_put(app_link_t *link, const sp_frame_t *frame);

#endif
