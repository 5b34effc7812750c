#include "app.h"
#include "camera.h"
#include "port.h"
#include "settings.h"

#include "spedge/wire.h"

#include <string.h>

#ifndef SP_FIRMWARE_VERSION
#define SP_FIRMWARE_VERSION "dev"
#endif
#ifndef SP_FIRMWARE_BUILD
#define SP_FIRMWARE_BUILD __VERSION__
#endif

#define MAX_STRING_BYTES 63u

/* A reply being written: the payload grows from start to at. */
typedef struct reply {
    uint8_t *at;
    uint8_t type;
    uint8_t start[SP_APP_PAYLOAD_BYTES];
} reply_t;

int app_has_model(void) { return sp_model.encode != NULL; }

/* ---- pieces of payloads ------------------------------------------------------------------------------------- */

static uint8_t *put_string(uint8_t *p, const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;
    n = n < MAX_STRING_BYTES ? n : MAX_STRING_BYTES;
    p = sp_put_u8(p, (uint8_t)n);
    return n > 0 ? sp_put_bytes(p, text, n) : p;
}

static void fail(reply_t *reply, uint8_t request, app_result_t error)
{
    reply->type = MSG_ERROR;
    reply->at = sp_put_u16(reply->start, error.code);
    reply->at = sp_put_u8(reply->at, request);
    reply->at = sp_put_u32(reply->at, error.detail[0]);
    reply->at = sp_put_u32(reply->at, error.detail[1]);
    reply->at = put_string(reply->at, error.text);
}

static void fail_with(reply_t *reply, uint8_t request, uint16_t code, const char *text, uint32_t a, uint32_t b)
{
    fail(reply, request, (app_result_t){code, text, {a, b}});
}

static void pipeline_stats(const app_t *app, sp_pipeline_stats_t *stats)
{
    memset(stats, 0, sizeof *stats);
    if (app->setup.pipe != NULL) {
        sp_pipeline_stats(app->setup.pipe, stats);
    }
}

static uint8_t *put_status(uint8_t *p, const app_t *app)
{
    sp_pipeline_progress_t stream = {0, 0, 0};
    if (app->setup.pipe != NULL) {
        sp_pipeline_progress(app->setup.pipe, &stream);
    }
    p = sp_put_u16(p, app->next_seq);
    p = sp_put_u16(p, app_queue_credits(&app->queue));
    p = sp_put_u32(p, app_queued(app));
    p = sp_put_u64(p, stream.taken);
    p = sp_put_u64(p, stream.lost);
    p = sp_put_u32(p, (uint32_t)stream.tokens);
    return sp_put_u32(p, app->report.total - app->report.oldest);
}

static void put_status_reply(reply_t *reply, const app_t *app)
{
    reply->at = put_status(reply->at, app);
}

static uint8_t *put_loss(uint8_t *p, const app_losses_t *loss)
{
    p = sp_put_u64(p, loss->offered);
    p = sp_put_u64(p, loss->sensor);
    p = sp_put_u64(p, loss->link);
    p = sp_put_u64(p, loss->thinned);
    p = sp_put_u64(p, loss->decoder);
    p = sp_put_u64(p, loss->pool);
    p = sp_put_u64(p, loss->since);
    p = sp_put_u64(p, loss->until);
    return sp_put_u64(p, loss->results_dropped);
}

static uint8_t *put_tokenizer(uint8_t *p, const sp_tokenizer_config_t *c)
{
    p = sp_put_u16(p, c->width);
    p = sp_put_u16(p, c->height);
    p = sp_put_u16(p, c->patch_size);
    p = sp_put_u8(p, c->kind);
    p = sp_put_u8(p, 0);
    p = sp_put_f64(p, c->threshold);
    p = sp_put_u64(p, c->absolute_refractory_us);
    p = sp_put_u64(p, c->relative_refractory_us);
    p = sp_put_f64(p, c->relative_scale);
    p = sp_put_f64(p, c->decay_per_us);
    return sp_put_u64(p, c->duration_us);
}

/* ---- handlers: one per request ------------------------------------------------------------------------------ */

static void on_hello(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    (void)app;
    (void)request;
    const port_info_t *info = port_info();
    size_t memory, ram;
    port_memory(&memory);
    int flags = (app_has_model() ? HELLO_MODEL : 0) | (app_camera_can(0) ? HELLO_CAMERA : 0) |
                (port_ram_source(&ram) != NULL ? HELLO_RAM : 0);
    uint8_t *p = sp_put_u16(reply->at, PROTOCOL_VERSION);
    p = sp_put_u8(p, (uint8_t)flags);
    p = sp_put_u8(p, info->counter_unit);
    p = sp_put_u16(p, SP_APP_PAYLOAD_BYTES);
    p = sp_put_u16(p, SP_APP_CREDITS);
    p = sp_put_u32(p, (uint32_t)memory);
    p = sp_put_u32(p, sp_model.arena_bytes);
    p = sp_put_u16(p, sp_model.tokens);
    p = sp_put_u16(p, (uint16_t)sp_model.classes);
    p = sp_put_u16(p, sp_model.tokenizer.width);
    p = sp_put_u16(p, sp_model.tokenizer.height);
    p = sp_put_bytes(p, sp_model.hash, sizeof sp_model.hash);
    p = put_string(p, SP_FIRMWARE_VERSION);
    p = put_string(p, SP_FIRMWARE_BUILD);
    p = put_string(p, info->board);
    reply->at = put_string(p, sp_model.name);
}

static void on_labels(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    (void)app;
    uint16_t first = sp_get_u16(request->payload);
    uint8_t *p = sp_put_u16(reply->at, (uint16_t)sp_model.classes);
    p = sp_put_u16(p, first);
    const uint8_t *end = reply->start + SP_APP_PAYLOAD_BYTES - 1u - MAX_STRING_BYTES;
    for (uint32_t i = first; i < sp_model.classes && p < end; i++) {
        p = put_string(p, sp_model.labels[i]);
    }
    reply->at = p;
}

/* A session begins: all replies from here on carry its id. */
static void open_session(app_t *app, uint32_t session, uint8_t type)
{
    app->previous_session = app->session;
    app->session = session;
    app->opened_by = type;
}

static void put_configured(reply_t *reply, const app_t *app)
{
    const app_setup_t *setup = &app->setup;
    uint8_t *p = put_tokenizer(reply->at, &setup->config.tokenizer);
    p = sp_put_u32(p, setup->config.tokenizer.pool_events);
    p = sp_put_u32(p, setup->settings.report_tokens);
    p = sp_put_u32(p, (uint32_t)setup->memory_used);
    p = sp_put_u16(p, setup->config.window_tokens);
    p = sp_put_u16(p, setup->config.embed.hidden);
    p = sp_put_u8(p, setup->config.embed.buckets);
    p = sp_put_u8(p, setup->arena != NULL ? CONFIGURE_MODEL : 0);
    p = sp_put_u8(p, 0);
    reply->at = sp_put_u8(p, (uint8_t)app->results.capacity);
}

static int is_format(uint8_t format)
{
    return format <= FORMAT_EVT3 || (format >= FORMAT_EDVS && format <= FORMAT_EDVS_LAST);
}

static app_settings_t get_settings(const uint8_t *p)
{
    const uint8_t *more = p + 16 + TOKENIZER_CONFIG_BYTES;
    app_settings_t s = {0};
    s.format = p[6];
    s.mode = p[7];
    s.report_tokens = sp_get_u32(p + 8);
    s.pool_events = sp_get_u32(p + 12);
    s.source = more[0];
    s.baud = sp_get_u32(more + 4);
    s.window_us = sp_get_u32(more + 8);
    s.every_us = sp_get_u32(more + 12);
    s.every_tokens = sp_get_u32(more + 16);
    return s;
}

static void on_configure(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    const uint8_t *p = request->payload;
    uint32_t session = sp_get_u32(p);
    uint16_t flags = sp_get_u16(p + 4);
    app_settings_t settings = get_settings(p);
    sp_tokenizer_config_t tokenizer = app_get_tokenizer(p + 16);
    settings.push = (flags & CONFIGURE_PUSH) != 0;
    settings.raw = (flags & CONFIGURE_RAW) != 0;
    settings.tokenizer = (flags & CONFIGURE_MODEL) != 0 ? NULL : &tokenizer;
    if ((flags & ~(CONFIGURE_MODEL | CONFIGURE_PUSH | CONFIGURE_RAW)) != 0 || !is_format(settings.format) ||
        settings.mode > MODE_LIVE || settings.source > SOURCE_RAM) {
        fail_with(reply, request->type, ERROR_VALUE, "flags, format, mode or source is unknown", 0, 0);
        return;
    }
    app_result_t result = app_configure(app, &settings);
    if (result.code != 0) {
        fail(reply, request->type, result);
        return;
    }
    open_session(app, session, request->type);
    put_configured(reply, app);
}

static void on_reset(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    app_reset_stream(app);
    open_session(app, sp_get_u32(request->payload), request->type);
    put_status_reply(reply, app);
}

static void take_lossless(app_t *app, const sp_frame_t *request)
{
    uint16_t ahead = (uint16_t)(request->seq - app->next_seq);
    if (ahead == 0 && app_queue_put(&app->queue, request->payload, request->length, port_counter())) {
        app->next_seq++;
    } else if (ahead >= 0x8000u) {
        app->repeated_frames++;
    } else {
        app->refused_frames++;
    }
}

static void on_events(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    const char *wrong = NULL;
    if (app->setup.settings.source != SOURCE_LINK) {
        wrong = "the events of this session do not come over the link";
    } else if (app->setup.settings.mode == MODE_LIVE) {
        wrong = app_live_take(app, request->seq, request->payload, request->length);
    } else {
        take_lossless(app, request);
    }
    if (wrong != NULL) {
        fail_with(reply, request->type, ERROR_VALUE, wrong, 0, 0);
        return;
    }
    app_make_room(app); /* so that the reply lets the host go on */
    put_status_reply(reply, app);
}

static void on_flush(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    if (request->length != 0 && request->length != 8) {
        fail_with(reply, request->type, ERROR_LENGTH, "wrong payload length", (uint32_t)request->length, 0);
        return;
    }
    if (request->length == 8 && app_is_live_link(app)) {
        app_live_offered(app, sp_get_u64(request->payload));
    }
    app_process(app, APP_QUEUE_BYTES);
    put_status_reply(reply, app);
}

static void on_tokens(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    app_report_t *report = &app->report;
    uint32_t first = sp_get_u32(request->payload);
    uint32_t most = sp_get_u16(request->payload + 4);
    if (!app_report_release(report, first)) {
        fail_with(reply, request->type, ERROR_RANGE, "no such token is kept", report->oldest, report->total);
        return;
    }
    app_process(app, APP_QUEUE_BYTES); /* room may have come */
    uint32_t count = report->total - first;
    uint32_t fits = (SP_APP_PAYLOAD_BYTES - STATUS_BYTES - 6u) / TOKEN_BYTES;
    count = count < most ? count : most;
    count = count < fits ? count : fits;
    put_status_reply(reply, app);
    uint8_t *p = sp_put_u32(reply->at, first);
    p = sp_put_u16(p, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        const app_report_entry_t *entry = app_report_at(report, first + i);
        p = sp_put_u16(p, entry->x);
        p = sp_put_u16(p, entry->y);
        p = sp_put_u64(p, entry->t);
        p = sp_put_u32(p, entry->n);
        p = sp_put_u32(p, entry->crc);
    }
    reply->at = p;
}

static void put_result(reply_t *reply, const app_t *app, const app_inference_t *inference)
{
    put_status_reply(reply, app);
    uint8_t *p = sp_put_u32(reply->at, inference->rows);
    p = sp_put_u64(p, inference->cost_tokenize);
    p = sp_put_u64(p, inference->cost_embed);
    p = sp_put_u64(p, inference->cost_window);
    p = sp_put_u64(p, inference->cost_encode);
    p = sp_put_u16(p, (uint16_t)sp_model.classes);
    p = sp_put_u32(p, inference->index);
    p = sp_put_u8(p, inference->cause);
    p = sp_put_u8(p, 0);
    p = sp_put_u16(p, (uint16_t)inference->code);
    p = sp_put_u64(p, inference->t);
    p = sp_put_u32(p, inference->newest);
    p = sp_put_u64(p, inference->latency);
    p = put_loss(p, &inference->loss);
    for (uint32_t i = 0; i < sp_model.classes; i++) {
        p = sp_put_f32(p, inference->logits[i]);
    }
    reply->at = p;
}

static void on_infer(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    if (app->setup.arena == NULL) {
        fail_with(reply, request->type, ERROR_NO_MODEL,
                  app_has_model() ? "the session was configured without the model" : "this firmware has no model", 0, 0);
        return;
    }
    if (!app->asked.done || app->asked.seq != request->seq) {
        app_process(app, APP_QUEUE_BYTES);
        if (app->queue.filled > 0 || sp_pipeline_waiting(app->setup.pipe) > 0) {
            uint32_t unread = app->report.total - app->report.oldest + app->results.total - app->results.oldest;
            fail_with(reply, request->type, ERROR_UNREAD,
                      "unread tokens or results hold up the events before this inference", unread, app_queued(app));
            return;
        }
        int code = app_infer_asked(app, request->seq);
        if (code < 0) {
            fail_with(reply, request->type, ERROR_MODEL, sp_strerror(code), (uint32_t)code, 0);
            return;
        }
    }
    put_result(reply, app, app_results_asked(&app->results));
}

static void on_results(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    app_results_t *results = &app->results;
    if (!app_results_release(results, sp_get_u32(request->payload))) {
        fail_with(reply, request->type, ERROR_RANGE, "no such result has been made", results->oldest, results->total);
        return;
    }
    app_process(app, APP_QUEUE_BYTES); /* room may have come */
    if (results->oldest < results->total) {
        put_result(reply, app, app_results_at(results, results->oldest));
    }
}

static void on_raw(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    app_tap_t *tap = &app->tap;
    if (!app_tap_release(tap, sp_get_u64(request->payload))) {
        fail_with(reply, request->type, ERROR_RANGE, "no such byte has come", (uint32_t)tap->oldest, (uint32_t)tap->total);
        return;
    }
    put_status_reply(reply, app);
    uint8_t *p = sp_put_u64(reply->at, tap->oldest);
    reply->at = p + app_tap_copy(tap, p, SP_APP_PAYLOAD_BYTES - STATUS_BYTES - 8u);
}

static void on_stats(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    (void)request;
    sp_pipeline_stats_t stats;
    pipeline_stats(app, &stats);
    const sp_decode_stats_t *d = &stats.decode;
    const sp_tokenizer_stats_t *t = &stats.tokenizer;
    const sp_frame_reader_stats_t *r = &app->link.reader.stats;
    const uint64_t counts[] = {
        d->words,     d->events,  d->times,         d->triggers, d->other,           d->unknown,
        d->untimed,   d->addresses, d->vectors,     d->vector_events, d->outside,    d->clipped,
        d->skipped,   t->taken,   t->in_tokens,     t->pending,  t->refractory,      t->decayed,
        t->pool_lost, t->outside, t->backwards,     t->tokens,   r->frames,          r->corrupted,
        r->oversized, r->truncated, app->repeated_frames,        app->refused_frames,
        stats.cost_tokenize,      stats.cost_embed,
    };
    size_t memory;
    port_memory(&memory);
    uint8_t *p = put_status(reply->at, app);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        p = sp_put_u64(p, counts[i]);
    }
    p = sp_put_u32(p, t->pool_used);
    p = sp_put_u32(p, t->pool_peak);
    p = sp_put_u32(p, app->setup.config.tokenizer.pool_events);
    p = sp_put_u32(p, app->setup.arena != NULL ? sp_model.arena_bytes : 0);
    p = sp_put_u32(p, (uint32_t)app->setup.memory_used);
    p = sp_put_u32(p, (uint32_t)memory);
    p = sp_put_u32(p, app->results.total);
    p = sp_put_u32(p, app->results.total - app->results.oldest);
    app_losses_t loss;
    app_loss_read(app, &loss);
    reply->at = put_loss(p, &loss);
}

/* ---- who may ask what, and when ----------------------------------------------------------------------------- */

enum { ANY_SESSION = 0, OPENS_SESSION = 1, IN_SESSION = 2 };

typedef struct command {
    void (*handle)(app_t *, const sp_frame_t *, reply_t *);
    uint16_t least_bytes;
    uint16_t most_bytes;
    uint8_t session; /* what the frame's session has to be */
    uint8_t type;
} command_t;

static const command_t commands[] = {
    {on_hello, 2, 2, ANY_SESSION, MSG_HELLO},
    {on_labels, 2, 2, ANY_SESSION, MSG_LABELS},
    {on_configure, CONFIGURE_BYTES, CONFIGURE_BYTES, OPENS_SESSION, MSG_CONFIGURE},
    {on_reset, 4, 4, OPENS_SESSION, MSG_RESET},
    {on_events, 1, SP_APP_PAYLOAD_BYTES, IN_SESSION, MSG_EVENTS},
    {on_flush, 0, 8, IN_SESSION, MSG_FLUSH},
    {on_tokens, 6, 6, IN_SESSION, MSG_TOKENS},
    {on_infer, 0, 0, IN_SESSION, MSG_INFER},
    {on_stats, 0, 0, ANY_SESSION, MSG_STATS},
    {on_results, 4, 4, IN_SESSION, MSG_RESULTS},
    {on_raw, 8, 8, IN_SESSION, MSG_RAW},
};

static const command_t *find_command(uint8_t type)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (commands[i].type == type) {
            return &commands[i];
        }
    }
    return NULL;
}

/* A request that opened the present session has come again, because its reply was lost or the link doubled it:
 * answer as then, do nothing. */
static int opened_already(const app_t *app, const sp_frame_t *request)
{
    return app->session != 0 && request->session == app->previous_session && request->type == app->opened_by &&
           sp_get_u32(request->payload) == app->session;
}

static void answer(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    const command_t *command = find_command(request->type);
    if (command == NULL) {
        fail_with(reply, request->type, ERROR_TYPE, "unknown request type", request->type, 0);
        return;
    }
    if (request->length < command->least_bytes || request->length > command->most_bytes) {
        fail_with(reply, request->type, ERROR_LENGTH, "wrong payload length", (uint32_t)request->length,
                  command->least_bytes);
        return;
    }
    if (command->session == OPENS_SESSION && opened_already(app, request)) {
        if (request->type == MSG_CONFIGURE) {
            put_configured(reply, app);
        } else {
            put_status_reply(reply, app);
        }
        return;
    }
    if (command->session != ANY_SESSION && request->session != app->session) {
        fail_with(reply, request->type, ERROR_SESSION, "the frame is of another session", request->session, app->session);
        return;
    }
    if (app->session == 0 && command->session != ANY_SESSION && request->type != MSG_CONFIGURE) {
        fail_with(reply, request->type, ERROR_NO_SESSION, "no session yet: CONFIGURE first", 0, 0);
        return;
    }
    if (command->session == OPENS_SESSION) {
        uint32_t session = sp_get_u32(request->payload);
        if (session == 0 || session == app->session) {
            fail_with(reply, request->type, ERROR_VALUE, "a new session needs a new id other than 0", session, 0);
            return;
        }
    }
    command->handle(app, request, reply);
}

static reply_t reply; /* scratch: too large for some stacks, no state between calls */

int app_push_result(app_t *app)
{
    app_results_t *results = &app->results;
    if (!app->setup.settings.push || results->pushed == results->total) {
        return 0;
    }
    const app_inference_t *inference = app_results_at(results, results->pushed);
    reply.at = reply.start;
    put_result(&reply, app, inference);
    results->pushed++;
    const sp_frame_t frame = {MSG_RESULT_PUSH, 0, (uint16_t)inference->index, app->session,
                              reply.start, (size_t)(reply.at - reply.start)};
    app_link_put(&app->link, &frame);
    return 1;
}

void app_command(app_t *app, const sp_frame_t *request)
{
    reply.at = reply.start;
    reply.type = (uint8_t)(request->type | MSG_REPLY_BIT);
    answer(app, request, &reply);
    const sp_frame_t frame = {reply.type,   request->flags, request->seq, app->session,
                              reply.start, (size_t)(reply.at - reply.start)};
    app_link_put(&app->link, &frame);
}
