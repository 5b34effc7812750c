#include "app.h"

#include "port.h"

#include <string.h>

/* Small enough that requests are answered promptly while a queue is worked off. */
#define SLICE_BYTES (SP_APP_PAYLOAD_BYTES / 4u)

void app_init(app_t *app)
{
    memset(app, 0, sizeof *app);
    app_link_init(&app->link);
}

int app_process(app_t *app, size_t bytes)
{
    size_t done = 0;
    while (app->setup.pipe != NULL && done < bytes && app_report_has_room(&app->report)) {
        const uint8_t *data;
        size_t used = 0;
        size_t n = app_queue_peek(&app->queue, &data);
        if (n == 0) {
            break;
        }
        n = n < bytes - done ? n : bytes - done;
        sp_pipeline_feed_evt2(app->setup.pipe, data, n, &used, app->report.capacity > 0);
        app_queue_drop(&app->queue, used);
        done += used;
    }
    return done > 0;
}

void app_reset_stream(app_t *app)
{
    app_queue_reset(&app->queue);
    app_report_reset(&app->report);
    app->next_seq = 0;
    app->inference.done = 0;
    app->repeated_frames = app->refused_frames = 0;
    memset(&app->steps, 0, sizeof app->steps);
    if (app->setup.pipe != NULL) {
        sp_pipeline_reset(app->setup.pipe);
    }
    if (app->setup.token != NULL) {
        sp_model.reset(app->setup.arena);
    }
}

int app_step(app_t *app)
{
    int busy = 0;
    if (!app_link_send(&app->link)) {
        sp_frame_t request;
        if (app_link_receive(&app->link, &request, &busy)) {
            app_command(app, &request);
            app_link_send(&app->link);
            busy = 1;
        }
    }
    return app_process(app, SLICE_BYTES) || busy;
}
