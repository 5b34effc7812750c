#include "messages.h"

#include "camera.h"
#include "configure.h"
#include "detect.h"
#include "loss.h"
#include "outputs.h"
#include "port.h"
#include "settings.h"
#include "stream.h"

#include "spedge/frame.h"
#include "spedge/wire.h"

#include <string.h>

#ifndef SP_FIRMWARE_VERSION
#define SP_FIRMWARE_VERSION "dev"
#endif
#ifndef SP_FIRMWARE_BUILD
#define SP_FIRMWARE_BUILD __VERSION__
#endif

#define MAX_STRING_BYTES 63u
#define MAX_RANK 8u /* of an output */

/* ---- pieces --------------------------------------------------------------------------------------------------- */

/* A string's bytes, as many as it may have. */
static uint8_t *put_short(uint8_t *p, const void *bytes, size_t n)
{
    n = n < MAX_STRING_BYTES ? n : MAX_STRING_BYTES;
    p = sp_put_u8(p, (uint8_t)n);
    return n > 0 ? sp_put_bytes(p, bytes, n) : p;
}

static uint8_t *put_string(uint8_t *p, const char *text)
{
    return put_short(p, text, text != NULL ? strlen(text) : 0);
}

void app_fail(app_reply_t *reply, uint8_t request, app_result_t error)
{
    reply->type = MSG_ERROR;
    reply->at = sp_put_u16(reply->start, error.code);
    reply->at = sp_put_u8(reply->at, request);
    reply->at = sp_put_u32(reply->at, error.detail[0]);
    reply->at = sp_put_u32(reply->at, error.detail[1]);
    reply->at = put_string(reply->at, error.text);
}

void app_fail_with(app_reply_t *reply, uint8_t request, uint16_t code, const char *text, uint32_t a, uint32_t b)
{
    app_fail(reply, request, (app_result_t){code, text, {a, b}});
}

static void pipeline_stats(const app_t *app, sp_pipeline_stats_t *stats)
{
    memset(stats, 0, sizeof *stats);
    if (app->setup.pipe != NULL)
        sp_pipeline_stats(app->setup.pipe, stats);
}

static uint8_t *put_status(uint8_t *p, const app_t *app)
{
    sp_pipeline_progress_t stream = {0, 0, 0};
    if (app->setup.pipe != NULL)
        sp_pipeline_progress(app->setup.pipe, &stream);
    p = sp_put_u16(p, app->next_seq);
    p = sp_put_u16(p, app_queue_credits(&app->queue));
    p = sp_put_u32(p, app_queued(app));
    p = sp_put_u64(p, stream.taken);
    p = sp_put_u64(p, stream.lost);
    p = sp_put_u32(p, (uint32_t)stream.tokens);
    return sp_put_u32(p, app->report.total - app->report.oldest);
}

void app_put_status(app_reply_t *reply, const app_t *app)
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

/* ---- payloads ------------------------------------------------------------------------------------------------- */

void app_put_hello(app_reply_t *reply)
{
    const port_info_t *info = port_info();
    const port_end_t end = port_last_end();
    size_t ram;
    int flags = (app_has_model() ? HELLO_MODEL : 0) | (app_camera_can(0) ? HELLO_CAMERA : 0) |
                (port_ram_source(&ram) != NULL ? HELLO_RAM : 0) | (port_has_frames() ? HELLO_FRAMES : 0);
    uint8_t *p = sp_put_u16(reply->at, PROTOCOL_VERSION);
    p = sp_put_u8(p, (uint8_t)flags);
    p = sp_put_u8(p, info->counter_unit);
    p = sp_put_u16(p, SP_APP_PAYLOAD_BYTES);
    p = sp_put_u16(p, SP_APP_CREDITS);
    p = sp_put_u32(p, app_memory());
    p = sp_put_u32(p, sp_model.arena_bytes);
    p = sp_put_u16(p, sp_model.tokens);
    p = sp_put_u16(p, sp_model.tokenizer.width);
    p = sp_put_u16(p, sp_model.tokenizer.height);
    p = sp_put_u8(p, sp_model.task);
    p = sp_put_u8(p, sp_model.output_count);
    p = sp_put_u32(p, app_outputs_numbers());
    p = sp_put_u32(p, app_outputs_state());
    p = sp_put_u32(p, sp_model.detection != NULL ? sp_model.detection->step_us : 0);
    p = sp_put_bytes(p, sp_model.hash, sizeof sp_model.hash);
    p = put_string(p, SP_FIRMWARE_VERSION);
    p = put_string(p, SP_FIRMWARE_BUILD);
    p = put_string(p, info->board);
    p = put_string(p, sp_model.name);
    p = sp_put_u8(p, end.why);
    p = sp_put_u32(p, end.at);
    reply->at = sp_put_u32(p, end.detail);
}

void app_put_image(app_reply_t *reply)
{
    uint8_t id[MAX_STRING_BYTES];
    const port_image_t image = port_image();
    uint8_t *p = sp_put_u32(reply->at, (uint32_t)image.n);
    p = sp_put_u32(p, image.n > 0 ? sp_crc32(0, image.bytes, image.n) : 0);
    p = put_short(p, image.build_id, image.build_id_bytes);
    reply->at = put_short(p, id, port_unique_id(id, sizeof id));
}

void app_put_outputs(app_reply_t *reply, uint16_t first)
{
    uint8_t *p = sp_put_u16(reply->at, sp_model.output_count);
    p = sp_put_u16(p, first);
    const uint8_t *end = reply->start + SP_APP_PAYLOAD_BYTES - (1u + MAX_STRING_BYTES + 1u + 4u * MAX_RANK);
    for (uint32_t i = first; i < sp_model.output_count && p <= end; i++) {
        const sp_output_t *output = &sp_model.outputs[i];
        uint32_t rank = output->rank < MAX_RANK ? output->rank : MAX_RANK;
        p = put_string(p, output->name);
        p = sp_put_u8(p, (uint8_t)rank);
        for (uint32_t k = 0; k < rank; k++)
            p = sp_put_u32(p, output->shape[k]);
    }
    reply->at = p;
}

app_settings_t app_get_settings(const uint8_t *p)
{
    const uint8_t *more = p + 16 + TOKENIZER_CONFIG_BYTES;
    app_settings_t s = {0};
    s.format = p[6];
    s.mode = p[7];
    s.report_tokens = sp_get_u32(p + 8);
    s.pool_events = sp_get_u32(p + 12);
    s.source = more[0];
    s.bin = more[1];
    s.left = sp_get_u16(more + 2);
    s.baud = sp_get_u32(more + 4);
    s.window_us = sp_get_u32(more + 8);
    s.every_us = sp_get_u32(more + 12);
    s.every_tokens = sp_get_u32(more + 16);
    s.top = sp_get_u16(more + 20);
    return s;
}

void app_put_configured(app_reply_t *reply, const app_t *app)
{
    const app_setup_t *setup = &app->setup;
    uint8_t *p = app_put_tokenizer(reply->at, &setup->config.tokenizer);
    p = sp_put_u32(p, setup->config.tokenizer.pool_events);
    p = sp_put_u32(p, setup->settings.report_tokens);
    p = sp_put_u32(p, (uint32_t)setup->memory_used);
    p = sp_put_u16(p, setup->config.window_tokens);
    p = sp_put_u16(p, setup->config.embed.hidden);
    p = sp_put_u8(p, setup->config.embed.buckets);
    p = sp_put_u8(p, setup->arena != NULL ? CONFIGURE_MODEL : 0);
    p = sp_put_u8(p, 0);
    p = sp_put_u8(p, (uint8_t)app->results.capacity);
    reply->at = sp_put_u16(p, (uint16_t)app->detect.capacity);
}

void app_put_tokens(app_reply_t *reply, const app_t *app, uint32_t first, uint32_t most)
{
    const uint32_t waiting = app->report.total - first;
    const uint32_t fits = (SP_APP_PAYLOAD_BYTES - STATUS_BYTES - 6u) / TOKEN_BYTES;
    uint32_t count = waiting < most ? waiting : most;
    count = count < fits ? count : fits;
    app_put_status(reply, app);
    uint8_t *p = sp_put_u32(reply->at, first);
    p = sp_put_u16(p, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        const app_report_entry_t *entry = app_report_at(&app->report, first + i);
        p = sp_put_u16(p, entry->x);
        p = sp_put_u16(p, entry->y);
        p = sp_put_u64(p, entry->t);
        p = sp_put_u32(p, entry->n);
        p = sp_put_u32(p, entry->crc);
    }
    reply->at = p;
}

static uint8_t *put_boxes(uint8_t *p, const sp_box_t *boxes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        p = sp_put_f32(p, boxes[i].x);
        p = sp_put_f32(p, boxes[i].y);
        p = sp_put_f32(p, boxes[i].w);
        p = sp_put_f32(p, boxes[i].h);
        p = sp_put_f32(p, boxes[i].score);
        p = sp_put_u16(p, (uint16_t)boxes[i].label);
    }
    return p;
}

/* A detector's step: what was left out, and boxes. */
static uint8_t *put_step(uint8_t *p, const app_t *app, app_inference_t *inference)
{
    p = sp_put_u32(p, inference->tokens_left_out);
    p = sp_put_u32(p, inference->steps_left_out);
    p = sp_put_u32(p, inference->boxes_left_out);
    p = sp_put_u16(p, (uint16_t)inference->boxes);
    p = sp_put_u8(p, inference->ran);
    p = sp_put_u8(p, 0);
    uint32_t n = inference->boxes < app->results.boxes ? inference->boxes : app->results.boxes;
    return put_boxes(p, app_results_boxes(inference), n);
}

void app_put_result(app_reply_t *reply, const app_t *app, app_inference_t *inference)
{
    app_put_status(reply, app);
    uint8_t *p = sp_put_u32(reply->at, inference->rows);
    p = sp_put_u64(p, inference->cost_tokenize);
    p = sp_put_u64(p, inference->cost_embed);
    p = sp_put_u64(p, inference->cost_window);
    p = sp_put_u64(p, inference->cost_encode);
    p = sp_put_u32(p, inference->run);
    p = sp_put_u32(p, inference->index);
    p = sp_put_u8(p, inference->cause);
    p = sp_put_u8(p, 0);
    p = sp_put_u16(p, (uint16_t)inference->code);
    p = sp_put_u64(p, inference->t);
    p = sp_put_u32(p, inference->newest);
    p = sp_put_u64(p, inference->latency);
    p = put_loss(p, &inference->loss);
    if (app_detects(app))
        p = put_step(p, app, inference);
    for (uint32_t i = 0; i < app->results.numbers; i++)
        p = sp_put_f32(p, inference->numbers[i]);
    reply->at = p;
}

void app_put_values(app_reply_t *reply, const app_t *app, uint32_t run, uint32_t first)
{
    const uint32_t there = app->outputs.there, numbers = app->outputs.numbers;
    const uint32_t most = (SP_APP_PAYLOAD_BYTES - VALUES_FIXED_BYTES) / 4u;
    uint32_t count = there != 0 && run == there && first < numbers ? numbers - first : 0;
    count = count < most ? count : most;
    uint8_t *p = sp_put_u32(reply->at, there);
    p = sp_put_u32(p, first);
    while (count > 0) {
        uint32_t n;
        const float *values = app_outputs_at(app->setup.arena, first, &n);
        n = n < count ? n : count;
        for (uint32_t i = 0; i < n; i++)
            p = sp_put_f32(p, values[i]);
        first += n;
        count -= n;
    }
    reply->at = p;
}

void app_put_boxes(app_reply_t *reply, const app_t *app, uint32_t run, uint32_t first)
{
    const uint32_t there = app->outputs.there, boxes = app->detect.count;
    const uint32_t most = (SP_APP_PAYLOAD_BYTES - VALUES_FIXED_BYTES) / BOX_BYTES;
    uint32_t count = there != 0 && run == there && first < boxes ? boxes - first : 0;
    count = count < most ? count : most;
    uint8_t *p = sp_put_u32(reply->at, there);
    p = sp_put_u32(p, first);
    reply->at = count > 0 ? put_boxes(p, app->detect.boxes + first, count) : p;
}

void app_put_raw(app_reply_t *reply, const app_t *app)
{
    app_put_status(reply, app);
    uint8_t *p = sp_put_u64(reply->at, app->tap.oldest);
    reply->at = p + app_tap_copy(&app->tap, p, SP_APP_PAYLOAD_BYTES - STATUS_BYTES - 8u);
}

void app_put_stats(app_reply_t *reply, const app_t *app)
{
    sp_pipeline_stats_t stats;
    pipeline_stats(app, &stats);
    const sp_decode_stats_t *d = &stats.decode;
    const sp_tokenizer_stats_t *t = &stats.tokenizer;
    const sp_frame_reader_stats_t *r = &app->link.reader.stats;
    /* clang-format off */
    const uint64_t counts[] = {
        d->words,     d->events,  d->times,         d->triggers, d->other,           d->unknown,
        d->untimed,   d->addresses, d->vectors,     d->vector_events, d->outside,    d->clipped,
        d->skipped,   t->taken,   t->in_tokens,     t->pending,  t->refractory,      t->decayed,
        t->pool_lost, t->outside, t->backwards,     t->tokens,   r->frames,          r->corrupted,
        r->oversized, r->truncated, app->repeated_frames,        app->refused_frames,
        stats.cost_tokenize,      stats.cost_embed,
    };
    /* clang-format on */
    uint8_t *p = put_status(reply->at, app);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        p = sp_put_u64(p, counts[i]);
    p = sp_put_u32(p, t->pool_used);
    p = sp_put_u32(p, t->pool_peak);
    p = sp_put_u32(p, app->setup.config.tokenizer.pool_events);
    p = sp_put_u32(p, app->setup.arena != NULL ? sp_model.arena_bytes : 0);
    p = sp_put_u32(p, (uint32_t)app->setup.memory_used);
    p = sp_put_u32(p, app_memory());
    p = sp_put_u32(p, app->results.total);
    p = sp_put_u32(p, app->results.total - app->results.oldest);
    p = sp_put_u32(p, app->detect.tokens_left_out);
    p = sp_put_u32(p, app->detect.steps_left_out);
    app_losses_t loss;
    app_loss_read(app, &loss);
    reply->at = put_loss(p, &loss);
}
