#include "host.h"

#include "port.h"

/* Of one that says so, HELLO is short; what does not fit is another request, or noise. */
#define FIRST_FRAME_BYTES 256u

/* Its header; returns 0 while it has not come whole. */
static int read_first(const uint8_t *first, size_t n, sp_frame_t *frame)
{
    uint8_t buffer[FIRST_FRAME_BYTES];
    sp_frame_reader_t reader;
    size_t used = 0;
    sp_frame_reader_init(&reader, buffer, sizeof buffer);
    return sp_frame_reader_feed(&reader, first, n, &used, frame);
}

int app_meet(app_t *app, const uint8_t *first, size_t n, int occupied)
{
    sp_frame_t frame;
    if (!read_first(first, n, &frame))
        return -1;
    const int yields = frame.type == MSG_HELLO && (frame.flags & FLAG_YIELD) != 0;
    const int owns = yields && frame.session != 0 && frame.session == app->session &&
                     (!occupied || frame.session != app->found_session);
    if (yields && occupied && !owns)
        return 0;
    if (!yields)
        app->found_session = app->session;
    else if (owns)
        app->found_session = 0;
    app_link_renew(&app->link, !owns);
    return 1;
}

int app_is_hello(const uint8_t *first, size_t n)
{
    sp_frame_t frame;
    return read_first(first, n, &frame) ? frame.type == MSG_HELLO : -1;
}

size_t app_farewell(uint8_t *out, size_t capacity)
{
    return app_link_error(ERROR_TAKEN, "another host has the device", 0, 0, out, capacity);
}
