#include "app.h"
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

static uint8_t *put_status(uint8_t *p, const app_t *app, const sp_pipeline_stats_t *stats)
{
    const sp_tokenizer_stats_t *tok = &stats->tokenizer;
    p = sp_put_u16(p, app->next_seq);
    p = sp_put_u16(p, app_queue_credits(&app->queue));
    p = sp_put_u32(p, (uint32_t)app->queue.filled);
    p = sp_put_u64(p, tok->taken);
    p = sp_put_u64(p, stats->decode.untimed + tok->pool_lost + tok->outside + tok->backwards);
    p = sp_put_u32(p, (uint32_t)tok->tokens);
    return sp_put_u32(p, app->report.total - app->report.oldest);
}

static void put_status_reply(reply_t *reply, const app_t *app)
{
    sp_pipeline_stats_t stats;
    pipeline_stats(app, &stats);
    reply->at = put_status(reply->at, app, &stats);
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
    size_t memory;
    port_memory(&memory);
    uint8_t *p = sp_put_u16(reply->at, PROTOCOL_VERSION);
    p = sp_put_u8(p, app_has_model() ? HELLO_MODEL : 0);
    p = sp_put_u8(p, info->counter_unit);
    p = sp_put_u16(p, SP_APP_PAYLOAD_BYTES);
    p = sp_put_u16(p, SP_APP_CREDITS);
    p = sp_put_u32(p, (uint32_t)memory);
    p = sp_put_u32(p, sp_model.arena_bytes);
    p = sp_put_u16(p, sp_model.tokens);
    p = sp_put_u16(p, sp_model.classes);
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
    uint8_t *p = sp_put_u16(reply->at, sp_model.classes);
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
    p = sp_put_u32(p, setup->report_tokens);
    p = sp_put_u32(p, (uint32_t)setup->memory_used);
    p = sp_put_u16(p, setup->config.window_tokens);
    p = sp_put_u16(p, setup->config.embed.hidden);
    p = sp_put_u8(p, setup->config.embed.buckets);
    p = sp_put_u8(p, setup->arena != NULL ? CONFIGURE_MODEL : 0);
    reply->at = sp_put_u16(p, 0);
}

static void on_configure(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    const uint8_t *p = request->payload;
    uint32_t session = sp_get_u32(p);
    uint16_t flags = sp_get_u16(p + 4);
    uint8_t format = p[6];
    uint8_t mode = p[7];
    uint32_t report_tokens = sp_get_u32(p + 8);
    uint32_t pool_events = sp_get_u32(p + 12);
    int with_model = (flags & CONFIGURE_MODEL) != 0;
    if ((flags & ~CONFIGURE_MODEL) != 0 || format != FORMAT_EVT2 || mode != MODE_LOSSLESS) {
        fail_with(reply, request->type, ERROR_VALUE, "flags, format or mode is unknown", 0, 0);
        return;
    }
    if (with_model && !app_has_model()) {
        fail_with(reply, request->type, ERROR_NO_MODEL, "this firmware has no model", 0, 0);
        return;
    }
    if (with_model && sp_model.classes > APP_MAX_CLASSES) {
        fail_with(reply, request->type, ERROR_MEMORY, "the logits do not fit a frame", sp_model.classes, APP_MAX_CLASSES);
        return;
    }
    sp_tokenizer_config_t tokenizer = app_get_tokenizer(p + 16);
    app_result_t result = app_configure(app, with_model ? NULL : &tokenizer, pool_events, report_tokens);
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

static void on_events(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    uint16_t ahead = (uint16_t)(request->seq - app->next_seq);
    if (ahead == 0 && app_queue_put(&app->queue, request->payload, request->length)) {
        app->next_seq++;
    } else if (ahead >= 0x8000u) {
        app->repeated_frames++;
    } else {
        app->refused_frames++;
    }
    put_status_reply(reply, app);
}

static void on_flush(app_t *app, const sp_frame_t *request, reply_t *reply)
{
    (void)request;
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

/* Logits of the window so far: the tokens have been taken in as they came. Returns a code. */
static int read_state(app_t *app)
{
    app_inference_t *inference = &app->inference;
    uint64_t begin = port_counter();
    int code = app->steps.code;
    if (code >= 0) {
        code = sp_model.step(app->setup.arena, NULL, inference->logits);
    }
    inference->rows = app->steps.rows;
    inference->cost_window = 0;
    inference->cost_encode = app->steps.cost + (port_counter() - begin);
    return code;
}

/* Run the encoder on the window. Returns its code. */
static int run_encoder(app_t *app)
{
    app_inference_t *inference = &app->inference;
    float *input = (float *)(void *)(app->setup.arena + sp_model.input_offset);
    uint64_t begin = port_counter();
    inference->rows = sp_pipeline_window(app->setup.pipe, input);
    uint64_t ready = port_counter();
    int code = sp_model.encode(app->setup.arena, inference->rows, inference->logits);
    inference->cost_encode = port_counter() - ready;
    inference->cost_window = ready - begin;
    return code;
}

static int infer(app_t *app, uint16_t seq)
{
    int code = app->setup.token != NULL ? read_state(app) : run_encoder(app);
    app->inference.seq = seq;
    app->inference.done = code >= 0;
    return code;
}

static void put_result(reply_t *reply, const app_t *app)
{
    const app_inference_t *inference = &app->inference;
    sp_pipeline_stats_t stats;
    pipeline_stats(app, &stats);
    uint8_t *p = put_status(reply->at, app, &stats);
    p = sp_put_u32(p, inference->rows);
    p = sp_put_u64(p, stats.cost_tokenize);
    p = sp_put_u64(p, stats.cost_embed);
    p = sp_put_u64(p, inference->cost_window);
    p = sp_put_u64(p, inference->cost_encode);
    p = sp_put_u16(p, sp_model.classes);
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
    if (!app->inference.done || app->inference.seq != request->seq) {
        app_process(app, APP_QUEUE_BYTES);
        if (app->queue.filled > 0) {
            fail_with(reply, request->type, ERROR_UNREAD, "unread tokens hold up the events before this inference",
                      app->report.total - app->report.oldest, (uint32_t)app->queue.filled);
            return;
        }
        int code = infer(app, request->seq);
        if (code < 0) {
            fail_with(reply, request->type, ERROR_MODEL, sp_strerror(code), (uint32_t)code, 0);
            return;
        }
    }
    put_result(reply, app);
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
        d->words,     d->events,    d->times,     d->triggers,          d->other,           d->unknown,
        d->untimed,   t->taken,     t->in_tokens, t->pending,           t->refractory,      t->decayed,
        t->pool_lost, t->outside,   t->backwards, t->tokens,            r->frames,          r->corrupted,
        r->oversized, r->truncated, app->repeated_frames,               app->refused_frames,
        stats.cost_tokenize,        stats.cost_embed,
    };
    size_t memory;
    port_memory(&memory);
    uint8_t *p = put_status(reply->at, app, &stats);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        p = sp_put_u64(p, counts[i]);
    }
    p = sp_put_u32(p, t->pool_used);
    p = sp_put_u32(p, t->pool_peak);
    p = sp_put_u32(p, app->setup.config.tokenizer.pool_events);
    p = sp_put_u32(p, app->setup.arena != NULL ? sp_model.arena_bytes : 0);
    p = sp_put_u32(p, (uint32_t)app->setup.memory_used);
    reply->at = sp_put_u32(p, (uint32_t)memory);
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
    {on_configure, 16 + TOKENIZER_CONFIG_BYTES, 16 + TOKENIZER_CONFIG_BYTES, OPENS_SESSION, MSG_CONFIGURE},
    {on_reset, 4, 4, OPENS_SESSION, MSG_RESET},
    {on_events, 1, SP_APP_PAYLOAD_BYTES, IN_SESSION, MSG_EVENTS},
    {on_flush, 0, 0, IN_SESSION, MSG_FLUSH},
    {on_tokens, 6, 6, IN_SESSION, MSG_TOKENS},
    {on_infer, 0, 0, IN_SESSION, MSG_INFER},
    {on_stats, 0, 0, ANY_SESSION, MSG_STATS},
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

void app_command(app_t *app, const sp_frame_t *request)
{
    static reply_t reply; /* scratch: too large for some stacks, no state between calls */
    reply.at = reply.start;
    reply.type = (uint8_t)(request->type | MSG_REPLY_BIT);
    answer(app, request, &reply);
    const sp_frame_t frame = {reply.type,   request->flags, request->seq, app->session,
                              reply.start, (size_t)(reply.at - reply.start)};
    app_link_put(&app->link, &frame);
}
