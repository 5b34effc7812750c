#include "infer.h"

#include "detect.h"
#include "loss.h"
#include "outputs.h"
#include "port.h"

#include <math.h>
#include <string.h>

int app_compute(uint32_t threads, const char *vectors)
{
    return sp_model.use != NULL ? sp_model.use(threads, vectors) : SP_OK;
}

/* The outputs of the window so far: the tokens have been taken in as they came. Returns a code. */
static int read_state(app_t *app, app_inference_t *out)
{
    uint64_t begin = port_counter();
    int code = app->steps.code;
    if (code >= 0)
        code = sp_model.read(app->setup.arena);
    out->rows = app->steps.rows;
    out->cost_window = 0;
    out->cost_encode = app->steps.cost + (port_counter() - begin);
    return code;
}

/* The graphs of the rows of the window. Returns a code. */
static int build_graphs(app_t *app, uint64_t since)
{
    const sp_graph_plan_t *graph = sp_model.graph;
    void *points = app->setup.arena + graph->tables[0].points_offset;
    return sp_graph_build(graph, app->setup.arena, sp_pipeline_points(app->setup.pipe, since, points));
}

/* Run the encoder on the window. Returns its code. */
static int run_encoder(app_t *app, app_inference_t *out)
{
    uint64_t window_us = app->setup.settings.window_us;
    uint64_t since = window_us > 0 && out->t > window_us ? out->t - window_us : 0;
    float *input = (float *)(void *)(app->setup.arena + sp_model.input_offset);
    uint64_t begin = port_counter();
    out->rows = sp_pipeline_window(app->setup.pipe, since, input);
    uint64_t ready = port_counter();
    int code = sp_model.graph != NULL ? build_graphs(app, since) : SP_OK;
    if (code >= 0)
        code = sp_model.encode(app->setup.arena, out->rows);
    out->cost_encode = port_counter() - ready;
    out->cost_window = ready - begin;
    return code;
}

/* What the model makes of the stream so far, or of the step at t. Returns its code. */
static int run_model(app_t *app, app_inference_t *out)
{
    if (app_detects(app))
        return app_detect_step(app, out->t, out);
    return app->setup.token != NULL ? read_state(app, out) : run_encoder(app, out);
}

/* Keep the first of the numbers that the model gave; all of them stay in the arena for a while. */
static void keep_numbers(app_t *app, app_inference_t *out)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < app->results.numbers; at += n) {
        const float *numbers = app_outputs_at(app->setup.arena, at, &n);
        n = n < app->results.numbers - at ? n : app->results.numbers - at;
        memcpy(out->numbers + at, numbers, n * sizeof(float));
    }
}

/* t: the stream time that it stands for; arrived: when what called for it came. */
static void infer(app_t *app, app_inference_t *out, uint8_t cause, uint64_t t, uint64_t arrived)
{
    out->cause = cause;
    out->t = t;
    out->ran = !app_detects(app) || app_detect_has_step(app);
    out->newest = (uint32_t)sp_pipeline_tokens(app->setup.pipe);
    out->boxes = out->boxes_left_out = 0;
    int code = SP_OK;
    if (out->ran) {
        app->outputs.runs++;
        app->outputs.there = 0;
        code = run_model(app, out);
        app->outputs.there = code >= 0 ? app->outputs.runs : 0;
    } else {
        out->rows = 0;
        out->cost_window = out->cost_encode = 0;
    }
    out->run = app->outputs.runs;
    if (code >= 0)
        keep_numbers(app, out);
    out->latency = arrived > 0 ? port_counter() - arrived : 0;
    out->code = (int16_t)(code >= 0 ? 0 : code < INT16_MIN ? INT16_MIN : code);
    for (uint32_t i = 0; code < 0 && i < app->results.numbers; i++)
        out->numbers[i] = NAN;
    out->tokens_left_out = app->detect.tokens_left_out;
    out->steps_left_out = app->detect.steps_left_out;
    sp_pipeline_costs(app->setup.pipe, &out->cost_tokenize, &out->cost_embed);
    app_loss_watch(app);
    app_loss_read(app, &out->loss);
    app_loss_told(app);
}

int app_infer_asked(app_t *app, uint16_t seq)
{
    app_inference_t *out = app_results_asked(&app->results);
    out->index = app->results.total;
    uint64_t t = sp_pipeline_time(app->setup.pipe);
    if (app_detects(app)) /* the chunk under way is over, whatever comes */
        t = app->boundary > 0 ? app->boundary - 1u : 0;
    infer(app, out, CAUSE_ASKED, t, app_queue_arrival(&app->queue, 0));
    app->asked.seq = seq;
    app->asked.done = out->code >= 0;
    return out->code;
}

static void infer_unasked(app_t *app, uint8_t cause, uint64_t t, size_t ahead)
{
    uint32_t index = app->results.total;
    app_inference_t *out = app_results_next(&app->results);
    out->index = index;
    infer(app, out, cause, t, app_queue_arrival(&app->queue, ahead));
}

void app_after_token(app_t *app)
{
    uint32_t every = app->setup.settings.every_tokens;
    if (every > 0 && sp_pipeline_tokens(app->setup.pipe) % every == 0)
        infer_unasked(app, CAUSE_EVERY_TOKENS, sp_pipeline_time(app->setup.pipe), 0);
}

/* A detector's chunk is over: without events it makes no step, in live mode a late one none either. */
static void end_chunk(app_t *app)
{
    if (!app_detect_has_step(app))
        return;
    if (app_detect_is_late(app))
        app_detect_leave_out(app);
    else
        infer_unasked(app, CAUSE_STEP, app->boundary - 1u, 1);
}

void app_at_time(app_t *app)
{
    uint64_t every = app_interval(app);
    uint64_t reached = sp_pipeline_reached(app->setup.pipe);
    if (app_detects(app))
        end_chunk(app);
    else if (app->boundary > 0) /* else the stream's time has just begun */
        infer_unasked(app, CAUSE_EVERY_US, reached - reached % every, 1);
    app->boundary = reached < SP_NO_TIME - every ? reached - reached % every + every : SP_NO_TIME;
}
