#include "link.h"

#include "port.h"

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
