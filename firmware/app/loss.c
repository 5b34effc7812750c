#include "loss.h"

#include "camera.h"
#include "port.h"

#include "spedge/wire.h"

#include <string.h>

#define TIME_HIGH 8u
#define EVENTS_AT_ONCE 8u
#define MOST_EVENTS (UINT64_C(1) << 63)

static uint64_t sensor_lost(const app_t *app)
{
    return app_has_camera(&app->setup.settings) ? app_camera_lost() - app->loss.sensor_before : 0;
}

static uint64_t events_lost(const app_t *app)
{
    return app_has_camera(&app->setup.settings) ? app_camera_lost_events() - app->loss.events_before : 0;
}

void app_loss_reset(app_t *app)
{
    memset(&app->loss, 0, sizeof app->loss);
    app->loss.sensor_before = app_camera_lost();
    app->loss.events_before = app_camera_lost_events();
    app->loss.chunk_end = sp_model.detection != NULL && app->setup.arena != NULL ? 0 : SP_NO_TIME;
    sp_evt2_init(&app->loss.clock);
}

static void lost_between(app_loss_t *loss, uint64_t since, uint64_t until)
{
    loss->since = loss->any && loss->since < since ? loss->since : since;
    loss->until = loss->any && loss->until > until ? loss->until : until;
    loss->any = 1;
}

void app_loss_watch(app_t *app)
{
    app_loss_t *loss = &app->loss;
    sp_pipeline_losses_t inside;
    sp_pipeline_losses(app->setup.pipe, &inside);
    uint64_t seen = inside.thinned + inside.decoder + inside.pool + sensor_lost(app) + events_lost(app);
    uint64_t now = sp_pipeline_time(app->setup.pipe);
    if (seen != loss->seen)
        lost_between(loss, loss->seen_at, now);
    loss->seen = seen;
    loss->seen_at = now;
}

void app_loss_read(const app_t *app, app_losses_t *losses)
{
    const app_loss_t *loss = &app->loss;
    memset(losses, 0, sizeof *losses);
    losses->link = loss->link + events_lost(app);
    losses->since = loss->since;
    losses->until = loss->until;
    losses->results_dropped = app->results.dropped;
    if (app->setup.pipe != NULL) {
        sp_pipeline_losses_t inside;
        sp_pipeline_losses(app->setup.pipe, &inside);
        losses->offered = app_is_live_link(app) ? loss->expected : inside.came + events_lost(app);
        losses->sensor = sensor_lost(app);
        losses->thinned = inside.thinned;
        losses->decoder = inside.decoder;
        losses->pool = inside.pool;
    }
}

void app_loss_told(app_t *app)
{
    app->loss.any = 0;
    app->loss.since = app->loss.until = 0;
}

/* ---- live mode over the link -------------------------------------------------------------------------------- */

/* How many of the words are events; -1 if there is a word that has no place here. */
static long count_events(const uint8_t *words, size_t n)
{
    long events = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t type = sp_get_u32(words + 4u * i) >> 28;
        if (type <= 1u && i > 0)
            events++;
        else if (type != TIME_HIGH)
            return -1;
    }
    return events;
}

/* Of a detector: another chunk has begun, and the one before, which held events, is whole. */
static void note_chunk(app_loss_t *loss, uint64_t t)
{
    const uint64_t step = sp_model.detection->step_us;
    loss->whole = loss->chunk_end;
    loss->chunk_end = t < SP_NO_TIME - step ? t - t % step + step : SP_NO_TIME;
}

/* Stream time at the end of these words. */
static uint64_t follow(app_loss_t *loss, const uint8_t *words, size_t bytes)
{
    sp_event_t events[EVENTS_AT_ONCE];
    size_t used, got;
    for (int rc = SP_MORE; rc == SP_MORE; words += used, bytes -= used) {
        rc = sp_evt2_decode(&loss->clock, words, bytes, &used, events, EVENTS_AT_ONCE, &got);
        loss->clock_time = got > 0 ? events[got - 1u].t : loss->clock.time_base;
        for (size_t i = 0; i < got; i++)
            if (events[i].t >= loss->chunk_end)
                note_chunk(loss, events[i].t);
    }
    return loss->clock_time;
}

static void take_live(app_loss_t *loss, uint64_t first, uint32_t offered, uint32_t events, const uint8_t *words,
                      size_t bytes)
{
    uint64_t before = loss->clock_time;
    uint64_t begin = follow(loss, words, 4);
    uint64_t end = follow(loss, words + 4, bytes - 4u);
    if (first > loss->expected)
        lost_between(loss, before, begin);
    if (offered > events)
        lost_between(loss, begin, end);
    loss->link += first - loss->expected + (offered - events);
    loss->expected = first + offered;
}

const char *app_live_take(app_t *app, uint16_t seq, const uint8_t *payload, size_t length)
{
    if (length < LIVE_HEAD_BYTES + 4u || (length - LIVE_HEAD_BYTES) % 4u != 0)
        return "live events are two counts and whole words";
    uint64_t first = sp_get_u64(payload);
    uint32_t offered = sp_get_u32(payload + 8);
    const uint8_t *words = payload + LIVE_HEAD_BYTES;
    size_t bytes = length - LIVE_HEAD_BYTES;
    long events = count_events(words, bytes / 4u);
    if (events < 0)
        return "live events are EVT2 words, a time word first";
    if (offered < (uint32_t)events || first > MOST_EVENTS)
        return "the counts of live events cannot be";
    if (first < app->loss.expected) {
        app->repeated_frames++;
    } else if (!app_queue_put(&app->queue, words, bytes, port_counter())) {
        app->refused_frames++;
    } else {
        app->next_seq = (uint16_t)(seq + 1u);
        take_live(&app->loss, first, offered, (uint32_t)events, words, bytes);
    }
    return NULL;
}

void app_live_offered(app_t *app, uint64_t total)
{
    app_loss_t *loss = &app->loss;
    if (total > loss->expected && total <= MOST_EVENTS) {
        lost_between(loss, loss->clock_time, loss->clock_time);
        loss->link += total - loss->expected;
        loss->expected = total;
    }
}
