#include "commands.h"

#include "camera.h"
#include "configure.h"
#include "infer.h"
#include "loss.h"
#include "messages.h"
#include "port.h"
#include "settings.h"
#include "stream.h"

#include "spedge/wire.h"

/* ---- handlers: one per request ------------------------------------------------------------------------------ */

static void on_hello(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    (void)app;
    (void)request;
    app_put_hello(reply);
}

static void on_outputs(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    (void)app;
    app_put_outputs(reply, sp_get_u16(request->payload));
}

/* A session begins: all replies from here on carry its id. */
static void open_session(app_t *app, uint32_t session, uint8_t type)
{
    app->previous_session = app->session;
    app->session = session;
    app->opened_by = type;
}

static int is_format(uint8_t format)
{
    return format <= FORMAT_EVT3 || (format >= FORMAT_EDVS && format <= FORMAT_EDVS_LAST);
}

static void on_configure(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    const uint8_t *p = request->payload;
    uint32_t session = sp_get_u32(p);
    uint16_t flags = sp_get_u16(p + 4);
    app_settings_t settings = app_get_settings(p);
    sp_tokenizer_config_t tokenizer = app_get_tokenizer(p + 16);
    settings.push = (flags & CONFIGURE_PUSH) != 0;
    settings.raw = (flags & CONFIGURE_RAW) != 0;
    settings.hold = (flags & CONFIGURE_HOLD) != 0;
    settings.tokenizer = (flags & CONFIGURE_MODEL) != 0 ? NULL : &tokenizer;
    if (p[16 + 7] != REPRESENTATION_TOKENS) {
        app_fail_with(reply, request->type, ERROR_VALUE, "this firmware makes tokens, nothing else", p[16 + 7], 0);
        return;
    }
    if ((flags & ~(CONFIGURE_MODEL | CONFIGURE_PUSH | CONFIGURE_RAW | CONFIGURE_HOLD)) != 0 ||
        !is_format(settings.format) || settings.mode > MODE_LIVE || settings.source > SOURCE_FRAMES) {
        app_fail_with(reply, request->type, ERROR_VALUE, "flags, format, mode or source is unknown", 0, 0);
        return;
    }
    app_result_t result = app_configure(app, &settings);
    if (result.code != 0) {
        app_fail(reply, request->type, result);
        return;
    }
    open_session(app, session, request->type);
    app_put_configured(reply, app);
}

static void on_reset(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    app_reset_stream(app);
    open_session(app, sp_get_u32(request->payload), request->type);
    app_put_status(reply, app);
}

static void take_lossless(app_t *app, const sp_frame_t *request)
{
    uint16_t ahead = (uint16_t)(request->seq - app->next_seq);
    if (ahead == 0 && app_queue_put(&app->queue, request->payload, request->length, port_counter()))
        app->next_seq++;
    else if (ahead >= 0x8000u)
        app->repeated_frames++;
    else
        app->refused_frames++;
}

static void on_events(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    const char *wrong = NULL;
    if (app->setup.settings.source != SOURCE_LINK)
        wrong = "the events of this session do not come over the link";
    else if (app->setup.settings.mode == MODE_LIVE)
        wrong = app_live_take(app, request->seq, request->payload, request->length);
    else
        take_lossless(app, request);
    if (wrong != NULL) {
        app_fail_with(reply, request->type, ERROR_VALUE, wrong, 0, 0);
        return;
    }
    app_make_room(app); /* so that the reply lets the host go on */
    app_put_status(reply, app);
}

static void on_flush(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    if (request->length != 0 && request->length != 8) {
        app_fail_with(reply, request->type, ERROR_LENGTH, "wrong payload length", (uint32_t)request->length, 0);
        return;
    }
    if (request->length == 8 && app_is_live_link(app))
        app_live_offered(app, sp_get_u64(request->payload));
    app_process(app, APP_QUEUE_BYTES);
    app_put_status(reply, app);
}

static void on_tokens(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    app_report_t *report = &app->report;
    uint32_t first = sp_get_u32(request->payload);
    uint32_t most = sp_get_u16(request->payload + 4);
    if (!app_report_release(report, first)) {
        app_fail_with(reply, request->type, ERROR_RANGE, "no such token is kept", report->oldest, report->total);
        return;
    }
    app_process(app, APP_QUEUE_BYTES); /* room may have come */
    app_put_tokens(reply, app, first, most);
}

static void on_infer(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    if (app->setup.arena == NULL) {
        app_fail_with(reply, request->type, ERROR_NO_MODEL,
                      app_has_model() ? "the session was configured without the model" : "this firmware has no model",
                      0, 0);
        return;
    }
    if (!app->asked.done || app->asked.seq != request->seq) {
        app_process(app, APP_QUEUE_BYTES);
        if (app->queue.filled > 0 || sp_pipeline_waiting(app->setup.pipe) > 0 || app_is_being_read(app)) {
            uint32_t unread = app->report.total - app->report.oldest + app->results.total - app->results.oldest;
            app_fail_with(reply, request->type, ERROR_UNREAD,
                          "unread tokens or results hold up the events before this inference", unread, app_queued(app));
            return;
        }
        int code = app_infer_asked(app, request->seq);
        if (code < 0) {
            app_fail_with(reply, request->type, ERROR_MODEL, sp_strerror(code), (uint32_t)code, 0);
            return;
        }
    }
    app_put_result(reply, app, app_results_asked(&app->results));
}

static void on_results(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    app_results_t *results = &app->results;
    if (!app_results_release(results, sp_get_u32(request->payload))) {
        app_fail_with(reply, request->type, ERROR_RANGE, "no such result has been made", results->oldest,
                      results->total);
        return;
    }
    app_process(app, APP_QUEUE_BYTES); /* room may have come */
    if (results->oldest < results->total)
        app_put_result(reply, app, app_results_at(results, results->oldest));
}

static void on_values(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    app_put_values(reply, app, sp_get_u32(request->payload), sp_get_u32(request->payload + 4));
}

static void on_boxes(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    app_put_boxes(reply, app, sp_get_u32(request->payload), sp_get_u32(request->payload + 4));
}

static void on_raw(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    app_tap_t *tap = &app->tap;
    if (!app_tap_release(tap, sp_get_u64(request->payload))) {
        app_fail_with(reply, request->type, ERROR_RANGE, "no such byte has come", (uint32_t)tap->oldest,
                      (uint32_t)tap->total);
        return;
    }
    app_put_raw(reply, app);
}

static void on_stats(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    (void)request;
    app_put_stats(reply, app);
}

static void on_image(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    (void)app;
    (void)request;
    app_put_image(reply);
}

/* Done once the reply is on its way. */
static void on_reboot(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    const uint8_t to = request->payload[0];
    if (!port_can_reboot(to)) {
        app_fail_with(reply, request->type, ERROR_VALUE,
                      to == REBOOT_BOOTLOADER ? "this board has no bootloader that it could start"
                                              : "this board cannot start that",
                      to, 0);
        return;
    }
    app->reboots = 1;
    app->reboot_to = to;
}

/* ---- who may ask what, and when ----------------------------------------------------------------------------- */

enum { ANY_SESSION = 0, OPENS_SESSION = 1, IN_SESSION = 2 };

typedef struct command {
    void (*handle)(app_t *, const sp_frame_t *, app_reply_t *);
    uint16_t least_bytes;
    uint16_t most_bytes;
    uint8_t session; /* what the frame's session has to be */
    uint8_t type;
} command_t;

static const command_t commands[] = {
    {on_hello, 2, HELLO_MOST_BYTES, ANY_SESSION, MSG_HELLO},
    {on_outputs, 2, 2, ANY_SESSION, MSG_OUTPUTS},
    {on_configure, CONFIGURE_BYTES, CONFIGURE_BYTES, OPENS_SESSION, MSG_CONFIGURE},
    {on_reset, 4, 4, OPENS_SESSION, MSG_RESET},
    {on_events, 1, SP_APP_PAYLOAD_BYTES, IN_SESSION, MSG_EVENTS},
    {on_flush, 0, 8, IN_SESSION, MSG_FLUSH},
    {on_tokens, 6, 6, IN_SESSION, MSG_TOKENS},
    {on_infer, 0, 0, IN_SESSION, MSG_INFER},
    {on_stats, 0, 0, ANY_SESSION, MSG_STATS},
    {on_results, 4, 4, IN_SESSION, MSG_RESULTS},
    {on_raw, 8, 8, IN_SESSION, MSG_RAW},
    {on_values, 8, 8, IN_SESSION, MSG_VALUES},
    {on_image, 0, 0, ANY_SESSION, MSG_IMAGE},
    {on_reboot, 1, 1, ANY_SESSION, MSG_REBOOT},
    {on_boxes, 8, 8, IN_SESSION, MSG_BOXES},
};

static const command_t *find_command(uint8_t type)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].type == type)
            return &commands[i];
    return NULL;
}

/* A request that opened the present session has come again, because its reply was lost or the link doubled it:
 * answer as then, do nothing. */
static int opened_already(const app_t *app, const sp_frame_t *request)
{
    return app->session != 0 && request->session == app->previous_session && request->type == app->opened_by &&
           sp_get_u32(request->payload) == app->session;
}

static void answer(app_t *app, const sp_frame_t *request, app_reply_t *reply)
{
    const command_t *command = find_command(request->type);
    if (command == NULL) {
        app_fail_with(reply, request->type, ERROR_TYPE, "unknown request type", request->type, 0);
        return;
    }
    if (request->length < command->least_bytes || request->length > command->most_bytes) {
        app_fail_with(reply, request->type, ERROR_LENGTH, "wrong payload length", (uint32_t)request->length,
                      command->least_bytes);
        return;
    }
    if (command->session == OPENS_SESSION && opened_already(app, request)) {
        if (request->type == MSG_CONFIGURE)
            app_put_configured(reply, app);
        else
            app_put_status(reply, app);
        return;
    }
    if (command->session != ANY_SESSION && request->session != app->session) {
        app_fail_with(reply, request->type, ERROR_SESSION, "the frame is of another session", request->session,
                      app->session);
        return;
    }
    if (app->session == 0 && command->session != ANY_SESSION && request->type != MSG_CONFIGURE) {
        app_fail_with(reply, request->type, ERROR_NO_SESSION, "no session yet: CONFIGURE first", 0, 0);
        return;
    }
    if (command->session == OPENS_SESSION) {
        uint32_t session = sp_get_u32(request->payload);
        if (session == 0 || session == app->session) {
            app_fail_with(reply, request->type, ERROR_VALUE, "a new session needs a new id other than 0", session, 0);
            return;
        }
    }
    command->handle(app, request, reply);
}

static app_reply_t reply; /* scratch: too large for some stacks, no state between calls */

int app_push_result(app_t *app)
{
    app_results_t *results = &app->results;
    if (!app->setup.settings.push || results->pushed == results->total)
        return 0;
    app_inference_t *inference = app_results_at(results, results->pushed);
    reply.at = reply.start;
    app_put_result(&reply, app, inference);
    results->pushed++;
    const sp_frame_t frame = {MSG_RESULT_PUSH, 0,           (uint16_t)inference->index,
                              app->session,    reply.start, (size_t)(reply.at - reply.start)};
    app_link_put(&app->link, &frame);
    return 1;
}

void app_command(app_t *app, const sp_frame_t *request)
{
    reply.at = reply.start;
    reply.type = (uint8_t)(request->type | MSG_REPLY_BIT);
    answer(app, request, &reply);
    const sp_frame_t frame = {reply.type,   request->flags, request->seq,
                              app->session, reply.start,    (size_t)(reply.at - reply.start)};
    app_link_put(&app->link, &frame);
}
