#include "link.h"

#include "port.h"
#include "protocol.h"

#include "spedge/wire.h"

#include <string.h>

void app_link_init(app_link_t *link)
{
    link->chunk_used = link->chunk_filled = 0;
    link->out_used = link->out_filled = 0;
    sp_frame_reader_init(&link->reader, link->frame + APP_FRAME_OFFSET, APP_FRAME_BYTES);
}

int app_link_is_busy(const app_link_t *link)
{
    return link->out_used < link->out_filled;
}

int app_link_send(app_link_t *link)
{
    if (app_link_is_busy(link))
        link->out_used += port_write(link->out + link->out_used, link->out_filled - link->out_used);
    return app_link_is_busy(link);
}

int app_link_receive(app_link_t *link, sp_frame_t *frame, int *busy)
{
    for (;;) {
        if (link->chunk_used == link->chunk_filled) {
            link->chunk_used = 0;
            link->chunk_filled = port_read(link->chunk, sizeof link->chunk);
            if (link->chunk_filled == 0)
                return 0;
            *busy = 1;
        }
        size_t used = 0;
        int got = sp_frame_reader_feed(&link->reader, link->chunk + link->chunk_used,
                                       link->chunk_filled - link->chunk_used, &used, frame);
        link->chunk_used += used;
        if (got)
            return 1;
    }
}

void app_link_put(app_link_t *link, const sp_frame_t *frame)
{
    int n = sp_frame_encode(frame, link->out, sizeof link->out);
    link->out_used = 0;
    link->out_filled = n > 0 ? (size_t)n : 0;
}

void app_link_renew(app_link_t *link, int all)
{
    link->out_used = link->out_filled = 0;
    if (all) {
        link->chunk_used = link->chunk_filled = 0;
        link->reader.filled = 0;
        link->reader.skipping = 0;
    }
}

size_t app_link_error(uint16_t code, const char *text, uint32_t detail_a, uint32_t detail_b, uint8_t *out,
                      size_t capacity)
{
    uint8_t payload[11u + 1u + 63u];
    const size_t length = strlen(text) < 64u ? strlen(text) : 63u;
    uint8_t *p = sp_put_u16(payload, code);
    p = sp_put_u8(p, 0);
    p = sp_put_u32(p, detail_a);
    p = sp_put_u32(p, detail_b);
    p = sp_put_u8(p, (uint8_t)length);
    p = sp_put_bytes(p, text, length);
    const sp_frame_t frame = {MSG_ERROR, 0, 0, 0, payload, (size_t)(p - payload)};
    const int n = capacity > 0 ? sp_frame_encode(&frame, out + 1, capacity - 1) : 0;
    if (n <= 0)
        return 0;
    out[0] = 0;
    return (size_t)n + 1;
}
