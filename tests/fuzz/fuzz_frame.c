/* Fuzzer of the frame parser. Input: a byte that chooses the buffer, one that cuts the stream; then the stream.
 * Whatever it is, cutting it anywhere gives the same frames, and a frame written again is read again. */
#include "fuzz.h"
#include "spedge/frame.h"
#include "spedge/wire.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST 512u

static uint32_t feed(sp_frame_reader_t *reader, const uint8_t *in, size_t n, size_t piece, uint32_t *frames)
{
    uint32_t crc = 0;
    for (size_t start = 0; start < n; start += piece) {
        const size_t length = n - start < piece ? n - start : piece;
        uint8_t *copy = malloc(length);
        memcpy(copy, in + start, length);
        for (size_t at = 0, used; at < length; at += used) {
            sp_frame_t frame;
            if (sp_frame_reader_feed(reader, copy + at, length - at, &used, &frame)) {
                const uint8_t head[2] = {frame.type, frame.flags};
                ++*frames;
                crc = sp_crc32(crc, head, 2);
                crc = sp_crc32(crc, frame.payload, frame.length);
            }
            FUZZ_REQUIRE(used > 0 && used <= length - at);
        }
        free(copy);
    }
    return crc;
}

static void write_and_read(const uint8_t *payload, size_t n)
{
    const sp_frame_t frame = {.type = 7, .flags = 1, .seq = 513, .session = 99, .payload = payload, .length = n};
    uint8_t *wire = malloc(sp_frame_max_encoded(n)), *buffer = malloc(n + 64);
    const size_t bytes = (size_t)sp_frame_encode(&frame, wire, sp_frame_max_encoded(n));
    sp_frame_reader_t reader;
    sp_frame_t got;
    size_t used;
    FUZZ_REQUIRE(bytes <= sp_frame_max_encoded(n));
    sp_frame_reader_init(&reader, buffer, n + 64);
    FUZZ_REQUIRE(sp_frame_reader_feed(&reader, wire, bytes, &used, &got));
    FUZZ_REQUIRE(used == bytes && got.length == n && got.seq == 513 && got.session == 99);
    FUZZ_REQUIRE(n == 0 || memcmp(got.payload, payload, n) == 0);
    free(wire);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const size_t room = 16u + data[0];
    uint8_t *a = malloc(room), *b = malloc(room);
    sp_frame_reader_t whole, cut;
    uint32_t frames_whole = 0, frames_cut = 0;
    sp_frame_reader_init(&whole, a, room);
    sp_frame_reader_init(&cut, b, room);
    const uint32_t crc = feed(&whole, data + 2, size - 2, size, &frames_whole);
    FUZZ_REQUIRE(crc == feed(&cut, data + 2, size - 2, 1u + data[1], &frames_cut));
    FUZZ_REQUIRE(frames_whole == frames_cut);
    FUZZ_REQUIRE(memcmp(&whole.stats, &cut.stats, sizeof whole.stats) == 0);
    write_and_read(data + 2, size - 2 < LARGEST ? size - 2 : LARGEST);
    free(a);
    free(b);
    return 0;
}
