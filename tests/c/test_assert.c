/* Misuse of the library is said in builds with SP_DEBUG, and looked for in no others. */
#include "harness.h"
#include "spedge/assert.h"
#include "spedge/decode.h"
#include "spedge/embed.h"
#include "spedge/frame.h"
#include "spedge/graph.h"
#include "spedge/pipeline.h"
#include "spedge/thin.h"

static sp_tokenizer_t *tokenizer(void)
{
    const sp_tokenizer_config_t config = {.width = 32, .height = 32, .pool_events = 64, .threshold = 2};
    const size_t size = sp_tokenizer_size(&config);
    sp_tokenizer_t *tok;
    CHECK_EQ(sp_tokenizer_init(&tok, &config, harness_alloc(size), size), SP_OK);
    return tok;
}

TEST(assert_a_condition_that_holds_does_nothing)
{
    int looked = 0;
    SP_ASSERT(++looked);
    CHECK_EQ(looked, 1);
    CHECK_MISUSE(SP_ASSERT(looked == 2));
}

TEST(assert_tokenizer)
{
    sp_tokenizer_t *tok = tokenizer();
    const sp_event_t events[2] = {{.t = 1}, {.t = 2}};
    sp_event_t out[2];
    sp_token_cursor_t cursor;
    size_t used;
    CHECK_MISUSE(sp_tokenizer_push(tok, NULL, 1, &used));
    CHECK_MISUSE(sp_tokenizer_push(NULL, events, 1, &used));
    CHECK_MISUSE(sp_tokenizer_push(tok, events, 1, NULL));
    CHECK_EQ(sp_tokenizer_push(tok, NULL, 0, &used), SP_OK);

    CHECK_EQ(sp_tokenizer_push(tok, events, 2, &used), SP_TOKEN);
    sp_token_cursor_init(&cursor, tok);
    CHECK_EQ(sp_token_cursor_read(&cursor, out, 1), 1);
    CHECK_EQ(sp_tokenizer_push(tok, NULL, 0, &used), SP_OK); /* the token is gone, the cursor reads on */
    CHECK_MISUSE(sp_token_cursor_read(&cursor, out, 1));
}

TEST(assert_a_tokenizer_does_not_grow_into_itself)
{
    sp_tokenizer_t *tok = tokenizer();
    CHECK_MISUSE(sp_tokenizer_grow(&tok, 128, tok, 1u << 20));
}

TEST(assert_decoder)
{
    const sp_decoder_config_t config = {.format = SP_FORMAT_EVT3};
    const uint8_t bytes[2] = {0};
    sp_event_t out[1];
    sp_decoder_t d;
    size_t used, got;
    CHECK_MISUSE(sp_decoder_init(&d, NULL));
    CHECK_EQ(sp_decoder_init(&d, &config), SP_OK);
    CHECK_MISUSE(sp_decoder_decode(&d, bytes, 2, &used, NULL, 1, &got));
    CHECK_MISUSE(sp_decoder_decode(&d, NULL, 2, &used, out, 1, &got));
    d.config.format = SP_FORMATS;
    CHECK_MISUSE(sp_decoder_decode(&d, bytes, 2, &used, out, 1, &got));
}

TEST(assert_frames)
{
    uint8_t memory[64] = {0};
    const sp_frame_t inside = {.payload = memory + 8, .length = 4}, nowhere = {.length = 4};
    const sp_frame_t beside = {.payload = memory + 60, .length = 4};
    sp_frame_reader_t reader;
    CHECK_MISUSE(sp_frame_encode(&inside, memory, 40));
    CHECK_MISUSE(sp_frame_encode(&nowhere, memory, 40));
    CHECK(sp_frame_encode(&beside, memory, 60) > 0);
    CHECK_MISUSE(sp_frame_reader_init(&reader, memory, 0));
}

TEST(assert_thinning)
{
    int16_t memory[4];
    sp_thin_t thin;
    CHECK_MISUSE(sp_thin_init(&thin, 32, 32, 0, memory));
    CHECK_MISUSE(sp_thin_init(&thin, 32, 32, 16, (uint8_t *)memory + 1));
    sp_thin_init(&thin, 32, 32, 16, memory);
}

TEST(assert_embedding)
{
    sp_embed_config_t config = {.hidden = 3, .buckets = 2, .patch_size = 2};
    uint32_t scratch[64] = {0}, cells[16];
    uint16_t volume[16], counts[16];
    const sp_event_t event = {.t = 1};
    float out[3];
    uint64_t steps[2];
    CHECK_MISUSE(sp_embed_events(&config, &event, 1, scratch, sizeof scratch, out)); /* no weights */
    CHECK_MISUSE(sp_embed_sparse(&config, &event, 1, NULL, cells, counts));
    sp_embed_volume(&config, &event, 1, volume);
    config.buckets = 0; /* not a full configuration */
    CHECK_MISUSE(sp_embed_volume(&config, &event, 1, volume));
    CHECK_MISUSE(sp_embed_bucket(1, 0));
    CHECK_MISUSE(sp_embed_position_steps(3, 0.0f, steps));
}

TEST(assert_a_token_is_embedded_while_it_is_ready)
{
    static const float weight[2 * 2 * 2 * 2 * 3], bias[3];
    const sp_embed_config_t config = {.hidden = 3, .buckets = 2, .patch_size = 2, .weight = weight, .bias = bias};
    uint32_t scratch[64] = {0};
    float out[3];
    CHECK_MISUSE(sp_embed_token(&config, tokenizer(), scratch, sizeof scratch, out));
}

TEST(assert_pipeline)
{
    static const float weight[2 * 16 * 16 * 10 * 3], bias[3];
    const sp_pipeline_config_t config = {.tokenizer = {.width = 32, .height = 32, .pool_events = 64},
                                         .embed = {.hidden = 3, .weight = weight, .bias = bias},
                                         .window_tokens = 4};
    const size_t size = sp_pipeline_size(&config);
    sp_pipeline_t *pipe;
    size_t used;
    CHECK_EQ(sp_pipeline_init(&pipe, &config, harness_alloc(size), size), SP_OK);
    CHECK_MISUSE(sp_pipeline_feed(pipe, NULL, 4, &used, 0, SP_NO_TIME));
    CHECK_MISUSE(sp_pipeline_window(pipe, 0, NULL));
}

TEST(assert_samples_of_a_graph)
{
    const double points[2][3] = {{0, 0, 0}, {1, 0, 0}};
    double nearest[2];
    uint32_t chosen[3];
    CHECK_MISUSE(sp_graph_sample(points, 2, 0, 3, nearest, chosen));
    CHECK_MISUSE(sp_graph_sample(points, 2, 2, 1, nearest, chosen));
    sp_graph_sample(points, 2, 1, 2, nearest, chosen);
    CHECK_EQ(chosen[1], 0);
}
