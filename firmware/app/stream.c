#include "stream.h"

#include "camera.h"
#include "detect.h"
#include "infer.h"
#include "loss.h"
#include "port.h"

#include <string.h>

/* Small enough that requests are answered promptly while a queue is worked off. */
#define SLICE_BYTES (SP_APP_PAYLOAD_BYTES / 4u)

/* A jump of the clock can end any number of voxel bins: so many tokens of theirs a turn. */
#define SLICE_VOXELS 256u

/* Turns in which a whole queue is worked off, unless bins take longer. */
#define QUEUE_TURNS (2u * APP_QUEUE_BYTES / SLICE_BYTES)

/* Whether what another token or boundary brings can be kept. Live mode waits for nobody, but it lets a link that is
 * free take the results that are to go out. */
static int has_room(const app_t *app)
{
    if (app->setup.settings.mode == MODE_LIVE)
        return !app->setup.settings.push || app_link_is_busy(&app->link) || app_results_has_sent_room(&app->results);
    return app_report_has_room(&app->report) && app_results_has_room(&app->results) && !app_is_being_read(app);
}

void app_make_room(app_t *app)
{
    for (uint32_t turn = 0; turn < QUEUE_TURNS && app_queue_credits(&app->queue) == 0; turn++)
        if (!app_process(app, SLICE_BYTES))
            break;
}

uint32_t app_queued(const app_t *app)
{
    size_t waiting = app->setup.pipe != NULL ? sp_pipeline_waiting(app->setup.pipe) : 0;
    uint64_t all = (uint64_t)app->queue.filled + waiting + app->ram_left;
    return all > UINT32_MAX ? UINT32_MAX : (uint32_t)all;
}

int app_process(app_t *app, size_t bytes)
{
    sp_pipeline_t *pipe = app->setup.pipe;
    int voxels = pipe != NULL && app->setup.config.tokenizer.kind == SP_KIND_VOXEL;
    int stops = app->report.capacity > 0 || app->setup.settings.every_tokens > 0 || voxels;
    uint32_t fired = 0;
    int worked = 0;
    for (size_t done = 0, used; pipe != NULL && has_room(app); done += used) {
        const uint8_t *data;
        size_t n = app_queue_peek(&app->queue, &data);
        n = n < bytes - done ? n : bytes - done;
        if (n == 0 && sp_pipeline_waiting(pipe) == 0)
            break;
        int rc = sp_pipeline_feed(pipe, data, n, &used, stops, app->boundary);
        app_queue_drop(&app->queue, used);
        app_loss_watch(app);
        if (rc == SP_TOKEN) {
            app_after_token(app);
            fired++;
        } else if (rc == SP_TIME) {
            app_at_time(app);
        }
        worked = 1;
        if (voxels && fired == SLICE_VOXELS)
            break;
    }
    return worked;
}

/* The less room the camera's bytes have, the fewer events are kept. */
static uint32_t keep_at(uint32_t level)
{
    uint32_t most = 255u - APP_CAMERA_CROWDED;
    uint32_t keep = level <= APP_CAMERA_CROWDED ? SP_THIN_ALL : (255u - level) * SP_THIN_ALL / most;
    return keep > 2u ? keep : 2u;
}

/* Bring bytes of a source on the board to the queue. Returns 0 when there were none. */
static int take_source(app_t *app)
{
    uint8_t chunk[SLICE_BYTES];
    size_t most = sizeof chunk, n = 0;
    int busy = 0;
    if (app->setup.settings.source == SOURCE_LINK || app->queue.filled >= SLICE_BYTES)
        return 0;
    if (app->tap.capacity > 0 && app->setup.settings.mode == MODE_LOSSLESS && app_tap_room(&app->tap) < most)
        most = app_tap_room(&app->tap);
    if (app_has_camera(&app->setup.settings)) {
        busy = app_camera_step();
        sp_pipeline_set_keep(app->setup.pipe, keep_at(app->setup.settings.mode == MODE_LIVE ? app_camera_level() : 0));
        n = app_camera_take(chunk, most);
    } else {
        n = app->ram_left < most ? app->ram_left : most;
        if (n > 0) {
            memcpy(chunk, app->ram, n);
            app->ram += n;
            app->ram_left -= n;
        }
    }
    app_tap_add(&app->tap, chunk, n);
    return (n > 0 && app_queue_put(&app->queue, chunk, n, port_counter())) || busy;
}

void app_reset_stream(app_t *app)
{
    const app_settings_t *settings = &app->setup.settings;
    app_queue_reset(&app->queue);
    app_report_reset(&app->report);
    app_results_reset(&app->results);
    app_tap_reset(&app->tap);
    app->next_seq = 0;
    app->asked.done = 0;
    app->outputs.runs = app->outputs.there = 0;
    app->boundary = app_interval(app) > 0 ? 0 : SP_NO_TIME;
    app->repeated_frames = app->refused_frames = 0;
    memset(&app->steps, 0, sizeof app->steps);
    if (app->setup.pipe != NULL)
        sp_pipeline_reset(app->setup.pipe);
    if (app_detects(app))
        app_detect_reset(app);
    else if (app->setup.token != NULL)
        sp_model.reset(app->setup.arena);
    app->ram = NULL;
    app->ram_left = 0;
    if (settings->source == SOURCE_FRAMES)
        app_camera_start_frames();
    else if (settings->source == SOURCE_CAMERA)
        app_camera_start(settings->format, settings->baud, settings->mode == MODE_LOSSLESS);
    else if (settings->source == SOURCE_RAM)
        app->ram = port_ram_source(&app->ram_left);
    app_loss_reset(app);
}

int app_stream_step(app_t *app)
{
    int busy = take_source(app);
    return app_process(app, SLICE_BYTES) || busy;
}
