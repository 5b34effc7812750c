/* Fuzzer of the frame parser and the command handler: the device application on a port made of memory.
 *
 * The input is a little program: noise, and good frames of any type, session, number and payload. After every step
 * what the device wrote has to be good frames, one a request and results that were not asked for, and what did not come
 * in a good frame of the present session or from the camera must not have changed the state. With FUZZ_DETECTOR the model
 * is a detector.
 *
 * Standalone: fuzz_app [RUNS [SEED]] makes its own inputs. With -DLIBFUZZER it is a libFuzzer target. */
#include "app.h"
#include "detect.h"
#include "fuzz_model.h"
#include "loss.h"
#include "no_frames.h"
#include "port.h"

#include "spedge/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_BYTES 65536u
/* ---- the port ------------------------------------------------------------------------------------------------ */

static _Alignas(16) uint8_t memory[MEMORY_BYTES];
static _Alignas(16) uint8_t fast[4096];
static const uint8_t *incoming;
static size_t incoming_left;
static size_t write_most = 64; /* a link that takes little at a time */
static sp_frame_reader_t host;
static uint8_t host_buffer[2048];
static unsigned replies, pushes, pages; /* of VALUES, with numbers */
static unsigned found, left_out;        /* results with boxes, sessions that left steps out */
static uint8_t camera[256];
static size_t camera_first, camera_filled;
static sp_frame_t last_reply;
static uint8_t last_payload[2048];

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {"fuzz", PORT_UNIT_NONE};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    size_t n = incoming_left < capacity ? incoming_left : capacity;
    if (n > 0) {
        memcpy(out, incoming, n);
        incoming += n;
        incoming_left -= n;
    }
    return n;
}

static void check_result(const sp_frame_t *frame);

size_t port_write(const uint8_t *data, size_t n)
{
    n = n < write_most ? n : write_most;
    for (size_t at = 0, used; at < n; at += used) {
        sp_frame_t frame;
        if (!sp_frame_reader_feed(&host, data + at, n - at, &used, &frame))
            continue;
        if (frame.type == MSG_RESULT_PUSH) {
            check_result(&frame);
            pushes++;
            continue;
        }
        replies++;
        last_reply = frame;
        memcpy(last_payload, frame.payload, frame.length);
        last_reply.payload = last_payload;
    }
    return n;
}

uint64_t port_counter(void)
{
    static uint64_t count;
    return count += 1000000; /* waits for a camera's greeting are soon over */
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    *size = kind == PORT_MEMORY_BULK ? sizeof memory : kind == PORT_MEMORY_FAST ? sizeof fast : 0;
    return kind == PORT_MEMORY_BULK ? memory : fast;
}

int port_camera_can(uint32_t baud)
{
    return baud % 2u == 0;
}
void port_camera_open(uint32_t baud, int hold)
{
    (void)baud, (void)hold, camera_filled = 0;
}
void port_camera_close(void)
{
    camera_filled = 0;
}
size_t port_camera_read(uint8_t *out, size_t capacity)
{
    size_t n = camera_filled < capacity ? camera_filled : capacity;
    memcpy(out, camera + camera_first, n);
    camera_first += n;
    camera_filled -= n;
    return n;
}
uint32_t port_camera_lost(void)
{
    return (uint32_t)camera_first / 100u;
}
uint8_t port_camera_level(void)
{
    return (uint8_t)camera_filled;
}
size_t port_camera_write(const uint8_t *data, size_t n)
{
    return (void)data, n > 3 ? 3 : n;
}
const uint8_t *port_ram_source(size_t *n)
{
    static const uint8_t words[] = {0, 0, 0,    0x80, 1, 8, 0, 0x10, 1, 8, 0, 0x11,
                                    1, 8, 0x40, 0x12, 9, 0, 0, 0x80, 1, 8, 0, 1};
    *n = sizeof words;
    return words;
}
port_image_t port_image(void)
{
    static const uint8_t image[] = "an image";
    return (port_image_t){image, sizeof image, image, 2};
}

port_end_t port_last_end(void)
{
    return (port_end_t){0};
}

size_t port_unique_id(uint8_t *out, size_t capacity)
{
    memset(out, 7, capacity < 12 ? capacity : 12);
    return 12;
}

int port_can_reboot(uint8_t to)
{
    return to == REBOOT_FIRMWARE;
}

void port_reboot(uint8_t to)
{
    FUZZ_REQUIRE(to == REBOOT_FIRMWARE);
}

void port_idle(void)
{
}

/* ---- the machine --------------------------------------------------------------------------------------------- */

static app_t app;

typedef struct input {
    const uint8_t *data;
    size_t left;
} input_t;

static uint8_t take(input_t *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->data++;
}

static void take_bytes(input_t *in, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = take(in);
}

static void run(const uint8_t *bytes, size_t n)
{
    incoming = bytes;
    incoming_left = n;
    int turns = 0;
    while (app_step(&app) || app_link_is_busy(&app.link))
        FUZZ_REQUIRE(++turns < 1000000);
    FUZZ_REQUIRE(incoming_left == 0);
    FUZZ_REQUIRE(host.stats.corrupted + host.stats.truncated + host.stats.oversized == 0);
}

typedef struct state {
    uint32_t session;
    uint16_t next_seq;
    size_t queued;
    sp_pipeline_stats_t stats;
    uint32_t oldest, total;
    uint32_t results_oldest, results_total;
    uint64_t expected, link;
    app_detect_t detect;
} state_t;

static void observe(state_t *state)
{
    memset(state, 0, sizeof *state);
    state->session = app.session;
    state->next_seq = app.next_seq;
    state->queued = app.queue.filled;
    state->oldest = app.report.oldest;
    state->total = app.report.total;
    state->results_oldest = app.results.oldest;
    state->results_total = app.results.total;
    state->expected = app.loss.expected;
    state->link = app.loss.link;
    state->detect = app.detect;
    if (app.setup.pipe != NULL)
        sp_pipeline_stats(app.setup.pipe, &state->stats);
}

static void send_noise(input_t *in)
{
    uint8_t noise[256];
    size_t n = take(in);
    state_t before, after;
    take_bytes(in, noise, n);
    noise[n] = 0;
    observe(&before);
    uint64_t good = app.link.reader.stats.frames;
    run(noise, n + 1u);
    observe(&after);
    FUZZ_REQUIRE(app.link.reader.stats.frames != good || app.setup.settings.source == SOURCE_CAMERA ||
                 memcmp(&before, &after, sizeof before) == 0);
}

/* A configuration that is often good. */
static size_t put_configure(input_t *in, uint8_t *p, uint32_t session)
{
    uint8_t choice = take(in);
    memset(p, 0, 64);
    sp_put_u32(p, session);
    p[4] = choice & 1u;
    static const uint8_t formats[] = {0, 0, 0, 1, 2, 3, 16, 17, 18, 19, 20, 4};
    p[6] = formats[take(in) % (choice > 250 ? 12u : choice > 128 ? 11u : 3u)];
    p[7] = take(in) % 16u < 7u;
    sp_put_u32(p + 8, take(in) % 16u);
    sp_put_u32(p + 12, choice & 2u ? take(in) * 64u : 0);
    sp_put_u16(p + 16, take(in));
    sp_put_u16(p + 18, take(in));
    sp_put_u16(p + 20, take(in) % 32u);
    sp_put_f64(p + 24, choice & 4u ? take(in) % 8u : 2.5);
    sp_put_u64(p + 32, take(in));
    p[22] = choice % 3u;
    sp_put_f64(p + 56, choice & 8u ? 0.001 : 0);
    sp_put_u64(p + 64, p[22] != SP_KIND_CONTINUOUS ? take(in) * 100u : 0);
    if (p[22] == SP_KIND_VOXEL) { /* not 0: a jump of the clock would bring any number of tokens */
        sp_put_f64(p + 24, 1.0 + take(in) % 8u);
        sp_put_u64(p + 32, 0);
        sp_put_f64(p + 56, 0.0);
    }
    if (choice > 240)
        take_bytes(in, p + 16, TOKENIZER_CONFIG_BYTES);
    uint8_t *more = p + 16 + TOKENIZER_CONFIG_BYTES;
    uint8_t which = take(in);
    memset(more, 0, CONFIGURE_BYTES - 16 - TOKENIZER_CONFIG_BYTES);
    more[0] = which < 30 ? which % 3u : 0;
    sp_put_u32(more + 4, which == 30);
    if (choice % 8u == 7u) { /* a part of a larger sensor */
        more[1] = (uint8_t)(which % 4u);
        more[2] = (uint8_t)(which % 5u);
        more[20] = (uint8_t)(which % 3u);
    }
    p[4] |= (uint8_t)(more[0] != SOURCE_LINK && which % 2u ? CONFIGURE_RAW : 0);
    if ((choice & 1u) != 0) {
        p[4] |= (uint8_t)(which & 6u ? CONFIGURE_PUSH : 0);
        sp_put_u32(more + 8, which & 4u ? take(in) * 8u : 0);
        sp_put_u32(more + 12, which & 8u ? 1u + take(in) * 8u : 0);
        sp_put_u32(more + 16, which & 16u ? 1u + take(in) % 9u : 0);
        if (sp_model.detection != NULL && which % 16u != 3u) { /* they are refused */
            p[4] |= (uint8_t)(which & 8u ? CONFIGURE_HOLD : CONFIGURE_PUSH);
            memset(more + 8, 0, 12);
        }
    }
    return CONFIGURE_BYTES;
}

/* EVT2 words that mostly lie on the sensor, or any bytes. */
static size_t put_events(input_t *in, uint8_t *p)
{
    size_t words = 1u + take(in) % 64u;
    uint8_t kind = take(in);
    for (size_t i = 0; i < words; i++) {
        uint32_t word =
            i == 0 ? 0x80000000u | take(in) : (uint32_t)take(in) << 22 | (take(in) % 48u) << 11 | take(in) % 32u;
        sp_put_u32(p + 4 * i, kind < 230 ? word & 0x9fffffffu : word * 0x9e3779b9u);
    }
    return 4 * words - kind % 4u;
}

/* A live frame that is often good. */
static size_t put_live(input_t *in, uint8_t *p)
{
    size_t n = put_events(in, p + LIVE_HEAD_BYTES);
    uint8_t kind = take(in);
    sp_put_u64(p, app.loss.expected + kind % 8u - (kind > 240 ? 5u : 0));
    sp_put_u32(p + 8, kind == 200 ? UINT32_MAX : (uint32_t)(n / 4u) + take(in) % 4u - (kind > 250 ? 3u : 0));
    return LIVE_HEAD_BYTES + n;
}

static void feed_camera(input_t *in)
{
    camera_filled = take(in);
    camera_first = 0;
    take_bytes(in, camera, camera_filled);
    run((const uint8_t *)"", 0);
}

/* What has to hold at any time. */
static void check_state(const state_t *state)
{
    FUZZ_REQUIRE(app.setup.arena == NULL || app.setup.arena == (sp_model.arena_bytes <= sizeof fast ? fast : memory));
    const sp_tokenizer_stats_t *t = &state->stats.tokenizer;
    const sp_decode_stats_t *d = &state->stats.decode;
    FUZZ_REQUIRE(t->taken ==
                 t->in_tokens + t->pending + t->refractory + t->decayed + t->pool_lost + t->outside + t->backwards);
    FUZZ_REQUIRE(state->total - state->oldest <= app.report.capacity);
    FUZZ_REQUIRE(state->results_total - state->results_oldest <= app.results.capacity);
    FUZZ_REQUIRE(app.setup.settings.mode == MODE_LIVE || state->detect.steps_left_out == 0);
    FUZZ_REQUIRE(state->detect.count <= state->detect.capacity);
    left_out += state->detect.steps_left_out > 0;
    FUZZ_REQUIRE(app.outputs.there == 0 || (encoded == good && app.outputs.there == app.outputs.runs));
    if (app.setup.pipe == NULL)
        return;
    app_losses_t loss;
    app_loss_read(&app, &loss);
    uint64_t undecoded = d->untimed + d->unknown + d->outside + d->clipped;
    uint64_t waiting = sp_pipeline_waiting(app.setup.pipe);
    if (!app_is_live_link(&app)) {
        FUZZ_REQUIRE(loss.offered == d->events + undecoded);
        FUZZ_REQUIRE(d->events <= t->taken + state->stats.thinned + waiting);
        FUZZ_REQUIRE(d->events >= t->taken + state->stats.thinned);
    } else if (state->queued == 0) {
        FUZZ_REQUIRE(loss.offered == t->taken + loss.link + undecoded);
    }
}

#include "fuzz_replies.h"

static void send_frame(input_t *in)
{
    static uint8_t payload[SP_APP_PAYLOAD_BYTES], wire[2048];
    uint8_t kind = take(in);
    uint8_t how = take(in);
    uint32_t new_session = 1u + take(in) % 4u;
    sp_frame_t frame =
        {(uint8_t)(kind < 240 ? 1u + kind % 15u : take(in)), take(in), take(in), app.session, payload, 0};
    switch (frame.type) {
    case MSG_HELLO:
    case MSG_OUTPUTS:
        frame.length = 2;
        take_bytes(in, payload, 2);
        break;
    case MSG_CONFIGURE:
        frame.length = put_configure(in, payload, new_session);
        break;
    case MSG_RESET:
        sp_put_u32(payload, new_session);
        frame.length = 4;
        break;
    case MSG_EVENTS:
        frame.length = app_is_live_link(&app) ? put_live(in, payload) : put_events(in, payload);
        frame.seq = how & 1u ? app.next_seq : (uint16_t)(app.next_seq + take(in) - 128);
        break;
    case MSG_TOKENS:
        sp_put_u32(payload, how & 1u ? app.report.oldest + take(in) % 8u : take(in));
        sp_put_u16(payload + 4, take(in));
        frame.length = 6;
        break;
    case MSG_RESULTS:
        sp_put_u32(payload, app.results.oldest + take(in) % 8u - (how > 200));
        frame.length = 4;
        break;
    case MSG_RAW:
        sp_put_u64(payload, app.tap.oldest + take(in) % 64u - (how > 200));
        frame.length = 8;
        break;
    case MSG_VALUES:
    case MSG_BOXES:
        sp_put_u32(payload, how > 200 ? take(in) : app.outputs.there);
        sp_put_u32(payload + 4, how & 1u ? take(in) * 3u : take(in) * 0x1000001u);
        frame.length = 8;
        break;
    case MSG_REBOOT:
        payload[0] = how & 3u;
        frame.length = 1;
        break;
    case MSG_FLUSH:
        sp_put_u64(payload, app.loss.expected + take(in) - 8u);
        frame.length = how & 1u ? 8 : 0;
        break;
    default:
        break;
    }
    if (how > 230)
        frame.session = take(in) % 8u;
    if (how % 32u == 17u)
        frame.length = take(in) * 4u;
    int n = sp_frame_encode(&frame, wire, sizeof wire);
    FUZZ_REQUIRE(n > 0);
    state_t before, after;
    observe(&before);
    unsigned had = replies;
    run(wire, (size_t)n);
    observe(&after);
    FUZZ_REQUIRE(replies == had + 1);
    FUZZ_REQUIRE(last_reply.seq == frame.seq && last_reply.flags == frame.flags && last_reply.session == app.session);
    FUZZ_REQUIRE(last_reply.type == (frame.type | MSG_REPLY_BIT) || last_reply.type == MSG_ERROR);
    if (frame.session != before.session && app.setup.settings.source != SOURCE_CAMERA) /* that goes on by itself */
        FUZZ_REQUIRE(memcmp(&before, &after, sizeof before) == 0);
    check_state(&after);
    if (last_reply.type == (MSG_VALUES | MSG_REPLY_BIT))
        check_values(sp_get_u32(payload), sp_get_u32(payload + 4));
    if (last_reply.type == (MSG_BOXES | MSG_REPLY_BIT))
        check_boxes_page(sp_get_u32(payload), sp_get_u32(payload + 4));
    if (last_reply.type == (MSG_INFER | MSG_REPLY_BIT) ||
        (last_reply.type == (MSG_RESULTS | MSG_REPLY_BIT) && last_reply.length > 0))
        check_result(&last_reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t in = {data, size};
    set_rows(size % 4u == 1u ? ROWS : 1u);
    app_init(&app);
    sp_frame_reader_init(&host, host_buffer, sizeof host_buffer);
    while (in.left > 0) {
        uint8_t what = take(&in);
        write_most = 1u + what % 64u;
        if (what < 40)
            send_noise(&in);
        else if (what < 52)
            feed_camera(&in);
        else
            send_frame(&in);
    }
    const uint8_t hello[] = {0x00, 0x02, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
                             0x02, 0x01, 0x05, 0x09, 0x32, 0x53, 0x15, 0x00};
    unsigned had = replies;
    run(hello, sizeof hello);
    FUZZ_REQUIRE(replies > had && last_reply.type == (MSG_HELLO | MSG_REPLY_BIT));
    return 0;
}

#ifndef LIBFUZZER
static uint64_t random_state;

static uint8_t random_byte(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint8_t)(random_state * 0x2545f4914f6cdd1du >> 56);
}

int main(int argc, char **argv)
{
    static uint8_t data[4096];
    long runs = argc > 1 ? atol(argv[1]) : 500;
    random_state = argc > 2 ? (uint64_t)atol(argv[2]) + 1 : 1;
    unsigned long long bytes = 0;
    for (long i = 0; i < runs; i++) {
        size_t n = ((size_t)random_byte() << 8 | random_byte()) % sizeof data;
        for (size_t k = 0; k < n; k++)
            data[k] = random_byte();
        LLVMFuzzerTestOneInput(data, n);
        bytes += n;
    }
    printf("%ld inputs, %llu bytes, %u replies, %u results, %u pages, %u found, %u left out\n", runs, bytes, replies,
           pushes, pages, found, left_out);
    return 0;
}
#endif
