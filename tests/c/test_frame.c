#include "harness.h"
#include "spedge/error.h"
#include "spedge/frame.h"

#include <stdio.h>
#include <string.h>

#define LONGEST_PAYLOAD 1024u
#define LONGEST_WIRE 1100u

typedef struct vector {
    sp_frame_t frame;
    uint8_t payload[LONGEST_PAYLOAD];
    uint8_t wire[LONGEST_WIRE];
    size_t wire_bytes;
} vector_t;

static size_t from_hex(const char *text, uint8_t *out, size_t capacity)
{
    size_t n = 0;
    unsigned byte;
    while (n < capacity && sscanf(text + 2 * n, "%2x", &byte) == 1)
        out[n++] = (uint8_t)byte;
    return n;
}

static FILE *open_vectors(void)
{
    FILE *file = fopen("../golden/frames.txt", "r"); /* run from tests/c or from the project's root */
    file = file != NULL ? file : fopen("tests/golden/frames.txt", "r");
    CHECK(file != NULL);
    return file;
}

static int next_vector(FILE *file, vector_t *v)
{
    static char payload[2 * LONGEST_PAYLOAD + 1], wire[2 * LONGEST_WIRE + 1];
    unsigned type, flags, seq, session;
    if (fscanf(file, "%2x %2x %4x %8x %2048s %2200s", &type, &flags, &seq, &session, payload, wire) != 6)
        return 0;
    v->frame = (sp_frame_t){(uint8_t)type, (uint8_t)flags, (uint16_t)seq, session, v->payload, 0};
    v->frame.length = payload[0] == '-' ? 0 : from_hex(payload, v->payload, LONGEST_PAYLOAD);
    v->wire_bytes = from_hex(wire, v->wire, LONGEST_WIRE);
    return 1;
}

static void check_same(const sp_frame_t *a, const sp_frame_t *b)
{
    CHECK_EQ(a->type, b->type);
    CHECK_EQ(a->flags, b->flags);
    CHECK_EQ(a->seq, b->seq);
    CHECK_EQ(a->session, b->session);
    CHECK_EQ(a->length, b->length);
    CHECK(memcmp(a->payload, b->payload, b->length) == 0);
}

/* Feed in pieces, each in a block exactly as long as it may be read. Returns the number of good frames. */
static int feed(sp_frame_reader_t *reader, const uint8_t *in, size_t n, size_t piece, sp_frame_t *frame)
{
    int frames = 0;
    for (size_t start = 0; start < n; start += piece) {
        const size_t count = n - start < piece ? n - start : piece;
        uint8_t *copy = harness_alloc(count);
        memcpy(copy, in + start, count);
        size_t at = 0, used;
        while (at < count) {
            frames += sp_frame_reader_feed(reader, copy + at, count - at, &used, frame);
            CHECK(used > 0 && used <= count - at);
            at += used;
        }
    }
    return frames;
}

TEST(frame_crc_is_that_of_zlib)
{
    CHECK_EQ(sp_crc32(0, "123456789", 9), 0xCBF43926u);
    CHECK_EQ(sp_crc32(sp_crc32(0, "1234", 4), "56789", 5), 0xCBF43926u);
    CHECK_EQ(sp_crc32(0, NULL, 0), 0);
}

/* crc32.c once more, with its tables. */
#define SP_CRC_TABLES
#define sp_crc32 crc32_by_tables
uint32_t crc32_by_tables(uint32_t crc, const void *data, size_t n);
#include "../../firmware/lib/src/crc32.c"
#undef sp_crc32

static void check_tables(const uint8_t *data, size_t n)
{
    const size_t cut = n / 3;
    const uint32_t whole = sp_crc32(0, data, n);
    CHECK_EQ(crc32_by_tables(0, data, n), whole);
    CHECK_EQ(crc32_by_tables(crc32_by_tables(0, data, cut), data + cut, n - cut), whole);
}

TEST(frame_crc_by_tables_is_the_same)
{
    static const size_t long_ones[] = {3 * STRIPE_BYTES - 1, 3 * STRIPE_BYTES, 3 * STRIPE_BYTES + 9, 61452};
    uint8_t *data = harness_alloc(61452);
    uint32_t state = 1;
    for (size_t i = 0; i < 61452; i++)
        data[i] = (uint8_t)harness_random(&state, 256);
    for (size_t n = 0; n <= 300; n++)
        check_tables(data, n);
    for (size_t i = 0; i < sizeof long_ones / sizeof *long_ones; i++)
        check_tables(data, long_ones[i]);
}

TEST(frame_vectors_are_written)
{
    FILE *file = open_vectors();
    vector_t *v = harness_alloc(sizeof *v);
    int count = 0;
    while (next_vector(file, v)) {
        const size_t most = sp_frame_max_encoded(v->frame.length);
        CHECK(v->wire_bytes <= most);
        uint8_t *out = harness_alloc(most);
        CHECK_EQ(sp_frame_encode(&v->frame, out, most), v->wire_bytes);
        CHECK(memcmp(out, v->wire, v->wire_bytes) == 0);
        count++;
    }
    CHECK(count >= 30);
    fclose(file);
}

TEST(frame_vectors_are_read)
{
    static const size_t pieces[] = {1, 7, LONGEST_WIRE};
    for (size_t i = 0; i < 3; i++) {
        FILE *file = open_vectors();
        vector_t *v = harness_alloc(sizeof *v);
        sp_frame_reader_t reader;
        uint8_t *buffer = harness_alloc(LONGEST_WIRE);
        sp_frame_reader_init(&reader, buffer, LONGEST_WIRE);
        uint64_t count = 0;
        while (next_vector(file, v)) {
            sp_frame_t got;
            CHECK_EQ(feed(&reader, v->wire, v->wire_bytes, pieces[i], &got), 1);
            check_same(&got, &v->frame);
            CHECK_EQ(reader.stats.frames, ++count);
        }
        CHECK_EQ(reader.stats.corrupted + reader.stats.truncated + reader.stats.oversized, 0);
        fclose(file);
    }
}

TEST(frame_encode_says_when_the_buffer_is_too_small)
{
    uint8_t payload[300];
    memset(payload, 0x5a, sizeof payload);
    const sp_frame_t frame = {5, 0, 1, 2, payload, sizeof payload};
    const size_t need = sp_frame_max_encoded(sizeof payload);
    uint8_t *whole = harness_alloc(need);
    const int length = sp_frame_encode(&frame, whole, need);
    CHECK(length > 0);
    for (size_t capacity = 0; capacity < (size_t)length; capacity++) {
        uint8_t *out = harness_alloc(capacity);
        CHECK_EQ(sp_frame_encode(&frame, out, capacity), SP_ERR_CAPACITY);
    }
}

TEST(frame_reader_takes_no_frame_with_a_flipped_bit)
{
    uint8_t payload[] = {0, 1, 2, 0, 0, 250, 251};
    const sp_frame_t frame = {5, 0, 300, 0x01020304, payload, sizeof payload};
    uint8_t wire[64], buffer[64];
    const int n = sp_frame_encode(&frame, wire, sizeof wire);
    CHECK(n > 0);
    for (int bit = 0; bit < 8 * (n - 1); bit++) {
        sp_frame_reader_t reader;
        sp_frame_t got;
        sp_frame_reader_init(&reader, buffer, sizeof buffer);
        wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ(feed(&reader, wire, (size_t)n, 64, &got), 0);
        wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_EQ(feed(&reader, wire, (size_t)n, 64, &got), 1);
        check_same(&got, &frame);
        CHECK(reader.stats.corrupted + reader.stats.truncated >= 1);
    }
}

TEST(frame_reader_counts_what_it_drops)
{
    uint8_t buffer[20], noise[21];
    sp_frame_reader_t reader;
    sp_frame_t got;
    sp_frame_reader_init(&reader, buffer, sizeof buffer);
    memset(noise, 1, sizeof noise);

    CHECK_EQ(feed(&reader, (const uint8_t *)"\0\0\0", 3, 3, &got), 0); /* empty frames are nothing */
    CHECK_EQ(reader.stats.corrupted + reader.stats.truncated + reader.stats.oversized, 0);
    feed(&reader, noise, 21, 21, &got);
    feed(&reader, (const uint8_t *)"", 1, 1, &got);
    CHECK_EQ(reader.stats.oversized, 1);
    feed(&reader,
         (const uint8_t *)"\x03"
                          "ab",
         4, 1, &got);
    CHECK_EQ(reader.stats.truncated, 1);
    feed(&reader,
         (const uint8_t *)"\xff"
                          "ab",
         4, 4, &got);
    CHECK_EQ(reader.stats.corrupted, 1);
    feed(&reader, noise, 20, 20, &got);
    feed(&reader, (const uint8_t *)"", 1, 1, &got);
    CHECK_EQ(reader.stats.corrupted, 2);
    CHECK_EQ(reader.stats.frames, 0);
}

TEST(frame_reader_goes_on_after_noise)
{
    uint32_t state = 1;
    uint8_t payload[40], wire[64], noise[256];
    uint8_t *buffer = harness_alloc(64);
    sp_frame_reader_t reader;
    sp_frame_t got;
    sp_frame_reader_init(&reader, buffer, 64);
    memset(payload, 7, sizeof payload);
    const sp_frame_t frame = {1, 2, 3, 4, payload, sizeof payload};
    const int n = sp_frame_encode(&frame, wire, sizeof wire);
    for (int round = 0; round < 2000; round++) {
        const size_t length = harness_random(&state, sizeof noise);
        for (size_t i = 0; i < length; i++)
            noise[i] = (uint8_t)harness_random(&state, 256);
        CHECK_EQ(feed(&reader, noise, length, 1 + harness_random(&state, 99), &got), 0);
        feed(&reader, (const uint8_t *)"", 1, 1, &got);
        CHECK_EQ(feed(&reader, wire, (size_t)n, 13, &got), 1);
        check_same(&got, &frame);
    }
}
