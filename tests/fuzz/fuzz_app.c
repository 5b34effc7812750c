/* Fuzzer of the frame parser and the command handler: the device application on a port made of memory.
 *
 * The input is a little program: noise, and good frames of any type, session, number and payload. After every step
 * what the device wrote has to be good frames, at most one a request, and what did not come in a good frame of the
 * present session must not have changed the state.
 *
 * Standalone: fuzz_app [RUNS [SEED]] makes its own inputs. With -DLIBFUZZER it is a libFuzzer target. */
#include "app.h"
#include "port.h"

#include "spedge/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_BYTES 65536u
#define REQUIRE(condition)                                                        \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

/* ---- the port ------------------------------------------------------------------------------------------------ */

static _Alignas(16) uint8_t memory[MEMORY_BYTES];
static const uint8_t *incoming;
static size_t incoming_left;
static size_t write_most = 64; /* a link that takes little at a time */
static sp_frame_reader_t host;
static uint8_t host_buffer[2048];
static unsigned replies;
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

size_t port_write(const uint8_t *data, size_t n)
{
    n = n < write_most ? n : write_most;
    for (size_t at = 0, used; at < n; at += used) {
        if (sp_frame_reader_feed(&host, data + at, n - at, &used, &last_reply)) {
            replies++;
            memcpy(last_payload, last_reply.payload, last_reply.length);
            last_reply.payload = last_payload;
        }
    }
    return n;
}

uint64_t port_counter(void)
{
    static uint64_t count;
    return count++;
}

void *port_memory(size_t *size)
{
    *size = sizeof memory;
    return memory;
}

int port_camera_can(uint32_t baud) { return (void)baud, 0; }
void port_camera_open(uint32_t baud, int hold) { (void)baud, (void)hold; }
void port_camera_close(void) {}
size_t port_camera_read(uint8_t *out, size_t capacity) { return (void)out, (void)capacity, 0; }
uint32_t port_camera_lost(void) { return 0; }
uint8_t port_camera_level(void) { return 0; }
size_t port_camera_write(const uint8_t *data, size_t n) { return (void)data, (void)n, 0; }
const uint8_t *port_ram_source(size_t *n) { return *n = 0, NULL; }
void port_idle(void) {}

/* ---- a model ------------------------------------------------------------------------------------------------- */

#define HIDDEN 6
#define TOKENS 5
static const float weight[2 * 2 * 4 * 4 * HIDDEN];
static const float bias[HIDDEN] = {1, 2, 3, 4, 5, 6};
static const char *const labels[] = {"a", "b"};

static int encode(void *arena, uint32_t count, float *logits)
{
    REQUIRE(count <= TOKENS);
    REQUIRE(((uintptr_t)arena & 15u) == 0);
    memset(arena, 0xee, sizeof(float) * TOKENS * HIDDEN);
    logits[0] = (float)count;
    logits[1] = -1;
    return count == 3 ? SP_ERR_CONFIG : SP_OK;
}

const sp_model_t sp_model = {
    .name = "fuzz",
    .tokenizer = {.width = 40, .height = 30, .patch_size = 4, .threshold = 3},
    .embed = {.patch_size = 4, .hidden = HIDDEN, .buckets = 2, .time_scale_us = 1000, .weight = weight, .bias = bias},
    .tokens = TOKENS,
    .classes = 2,
    .labels = labels,
    .arena_bytes = sizeof(float) * TOKENS * HIDDEN,
    .encode = encode,
};

/* ---- the machine --------------------------------------------------------------------------------------------- */

static app_t app;

typedef struct input {
    const uint8_t *data;
    size_t left;
} input_t;

static uint8_t take(input_t *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static void take_bytes(input_t *in, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = take(in);
    }
}

static void run(const uint8_t *bytes, size_t n)
{
    incoming = bytes;
    incoming_left = n;
    int turns = 0;
    while (app_step(&app) || app_link_send(&app.link)) {
        REQUIRE(++turns < 1000000);
    }
    REQUIRE(incoming_left == 0);
    REQUIRE(host.stats.corrupted + host.stats.truncated + host.stats.oversized == 0);
}

typedef struct state {
    uint32_t session;
    uint16_t next_seq;
    size_t queued;
    sp_pipeline_stats_t stats;
    uint32_t oldest, total;
} state_t;

static void observe(state_t *state)
{
    memset(state, 0, sizeof *state);
    state->session = app.session;
    state->next_seq = app.next_seq;
    state->queued = app.queue.filled;
    state->oldest = app.report.oldest;
    state->total = app.report.total;
    if (app.setup.pipe != NULL) {
        sp_pipeline_stats(app.setup.pipe, &state->stats);
    }
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
    REQUIRE(app.link.reader.stats.frames != good || memcmp(&before, &after, sizeof before) == 0);
}

/* A configuration that is often good. */
static size_t put_configure(input_t *in, uint8_t *p, uint32_t session)
{
    uint8_t choice = take(in);
    memset(p, 0, 64);
    sp_put_u32(p, session);
    p[4] = choice & 1u;
    p[6] = choice > 250;
    sp_put_u32(p + 8, take(in) % 16u);
    sp_put_u32(p + 12, choice & 2u ? take(in) * 64u : 0);
    sp_put_u16(p + 16, take(in));
    sp_put_u16(p + 18, take(in));
    sp_put_u16(p + 20, take(in) % 32u);
    sp_put_f64(p + 24, choice & 4u ? take(in) % 8u : 2.5);
    sp_put_u64(p + 32, take(in));
    p[22] = choice % 3u == 0;
    sp_put_f64(p + 56, choice & 8u ? 0.001 : 0);
    sp_put_u64(p + 64, choice % 3u == 0 ? take(in) * 100u : 0);
    if (choice > 240) {
        take_bytes(in, p + 16, TOKENIZER_CONFIG_BYTES);
    }
    return 16 + TOKENIZER_CONFIG_BYTES;
}

/* EVT2 words that mostly lie on the sensor, or any bytes. */
static size_t put_events(input_t *in, uint8_t *p)
{
    size_t words = 1u + take(in) % 64u;
    uint8_t kind = take(in);
    for (size_t i = 0; i < words; i++) {
        uint32_t word = i == 0 ? 0x80000000u | take(in) : (uint32_t)take(in) << 22 | (take(in) % 48u) << 11 | take(in) % 32u;
        sp_put_u32(p + 4 * i, kind < 230 ? word & 0x9fffffffu : word * 0x9e3779b9u);
    }
    return 4 * words - kind % 4u;
}

static void send_frame(input_t *in)
{
    static uint8_t payload[SP_APP_PAYLOAD_BYTES], wire[2048];
    uint8_t kind = take(in);
    uint8_t how = take(in);
    uint32_t new_session = 1u + take(in) % 4u;
    sp_frame_t frame = {(uint8_t)(kind < 240 ? 1u + kind % 9u : take(in)), take(in), take(in), app.session, payload, 0};
    switch (frame.type) {
    case MSG_HELLO:
    case MSG_LABELS:
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
        frame.length = put_events(in, payload);
        frame.seq = how & 1u ? app.next_seq : (uint16_t)(app.next_seq + take(in) - 128);
        break;
    case MSG_TOKENS:
        sp_put_u32(payload, how & 1u ? app.report.oldest + take(in) % 8u : take(in));
        sp_put_u16(payload + 4, take(in));
        frame.length = 6;
        break;
    default:
        break;
    }
    if (how > 230) {
        frame.session = take(in) % 8u;
    }
    if (how % 32u == 17u) {
        frame.length = take(in) * 4u;
    }
    int n = sp_frame_encode(&frame, wire, sizeof wire);
    REQUIRE(n > 0);
    state_t before, after;
    observe(&before);
    unsigned had = replies;
    run(wire, (size_t)n);
    observe(&after);
    REQUIRE(replies == had + 1);
    REQUIRE(last_reply.seq == frame.seq && last_reply.flags == frame.flags && last_reply.session == app.session);
    REQUIRE(last_reply.type == (frame.type | MSG_REPLY_BIT) || last_reply.type == MSG_ERROR);
    if (frame.session != before.session) {
        REQUIRE(memcmp(&before, &after, sizeof before) == 0);
    }
    const sp_tokenizer_stats_t *t = &after.stats.tokenizer;
    REQUIRE(t->taken == t->in_tokens + t->pending + t->refractory + t->decayed + t->pool_lost + t->outside + t->backwards);
    REQUIRE(after.total - after.oldest <= app.report.capacity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t in = {data, size};
    app_init(&app);
    sp_frame_reader_init(&host, host_buffer, sizeof host_buffer);
    while (in.left > 0) {
        uint8_t what = take(&in);
        write_most = 1u + what % 64u;
        if (what < 40) {
            send_noise(&in);
        } else {
            send_frame(&in);
        }
    }
    const uint8_t hello[] = {0x00, 0x02, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x02, 0x01, 0x05, 0x09, 0x32, 0x53, 0x15, 0x00};
    unsigned had = replies;
    run(hello, sizeof hello);
    REQUIRE(replies > had && last_reply.type == (MSG_HELLO | MSG_REPLY_BIT));
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
        for (size_t k = 0; k < n; k++) {
            data[k] = random_byte();
        }
        LLVMFuzzerTestOneInput(data, n);
        bytes += n;
    }
    printf("%ld inputs, %llu bytes, %u replies\n", runs, bytes, replies);
    return 0;
}
#endif
