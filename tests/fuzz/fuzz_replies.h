/* What has to hold of the payloads that the fuzzed application sends. A part of fuzz_app.c. */
#ifndef FUZZ_REPLIES_H_INCLUDED
#define FUZZ_REPLIES_H_INCLUDED

static float get_f32(const uint8_t *p)
{
    uint32_t bits = sp_get_u32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check_boxes(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++, p += BOX_BYTES) {
        FUZZ_REQUIRE(get_f32(p + 16) <= 1.0f && sp_get_u16(p + 20) < 2u);
        FUZZ_REQUIRE(i == 0 || get_f32(p + 16) <= get_f32(p + 16 - BOX_BYTES));
        FUZZ_REQUIRE(get_f32(p) >= 0.0f && get_f32(p + 4) >= 0.0f && get_f32(p + 8) > 0.0f && get_f32(p + 12) > 0.0f);
    }
}

/* A RESULT is whole, and of a detector's boxes the best ones are in it, in order. */
static void check_result(const sp_frame_t *frame)
{
    const uint8_t *p = frame->payload + RESULT_FIXED_BYTES;
    FUZZ_REQUIRE(frame->length >= RESULT_FIXED_BYTES);
    if (sp_model.detection == NULL)
        return;
    FUZZ_REQUIRE(frame->length >= RESULT_FIXED_BYTES + STEP_BYTES);
    const size_t boxes = sp_get_u16(p + 12), left = frame->length - RESULT_FIXED_BYTES - STEP_BYTES;
    const size_t n = boxes < APP_RESULT_BOXES ? boxes : APP_RESULT_BOXES;
    FUZZ_REQUIRE(left == n * BOX_BYTES && boxes <= app.detect.capacity && (p[14] || boxes == 0));
    check_boxes(p + STEP_BYTES, n);
    found += n > 0;
}

/* Boxes are those of the run that was asked for, or none. */
static void check_boxes_page(uint32_t run, uint32_t first)
{
    const uint8_t *p = last_reply.payload;
    FUZZ_REQUIRE(last_reply.length >= VALUES_FIXED_BYTES && (last_reply.length - VALUES_FIXED_BYTES) % BOX_BYTES == 0);
    FUZZ_REQUIRE(sp_get_u32(p) == app.outputs.there && sp_get_u32(p + 4) == first);
    const size_t n = (last_reply.length - VALUES_FIXED_BYTES) / BOX_BYTES;
    FUZZ_REQUIRE((n > 0) == (run != 0 && run == app.outputs.there && first < app.detect.count));
    FUZZ_REQUIRE(first + n <= app.detect.count || n == 0);
    check_boxes(p + VALUES_FIXED_BYTES, n);
}

/* Numbers are those of the run that was asked for, or none. */
static void check_values(uint32_t run, uint32_t first)
{
    const uint8_t *p = last_reply.payload;
    FUZZ_REQUIRE(last_reply.length >= VALUES_FIXED_BYTES && (last_reply.length - VALUES_FIXED_BYTES) % 4u == 0);
    FUZZ_REQUIRE(sp_get_u32(p) == app.outputs.there && sp_get_u32(p + 4) == first);
    size_t n = (last_reply.length - VALUES_FIXED_BYTES) / 4u;
    FUZZ_REQUIRE((n > 0) == (run != 0 && run == app.outputs.there && first < numbers_of_all()));
    pages += n > 0;
    FUZZ_REQUIRE(n == 0 || first + n == numbers_of_all() || last_reply.length + 3u >= SP_APP_PAYLOAD_BYTES);
    for (size_t i = 0; i < n; i++)
        FUZZ_REQUIRE(get_f32(p + VALUES_FIXED_BYTES + 4u * i) == number(good, first + (uint32_t)i));
}

#endif
