/* Measures what an event costs: EVT2 words that lie in memory already are decoded and tokenized, and the counter is read
 * before and after. `spedge bench tokenizer --board` puts them there. In the memory of the port: "SPB1", bytes of words u32,
 * the tokenizer as in CONFIGURE (SPEC.md), pool_events u32, 0 u32, the words. What is behind them is the tokenizer's.
 * Then it does the same again and takes the CRC-32 of all tokens in their order: x u16, y u16, t u64, n u32, then each
 * event's t u64, x u16, y u16, p u8, little-endian. Says "events tokens lost cost crc". */
#define BENCH_MAGIC "SPB1"
#include "../bench.h"
#include "settings.h"

#include "spedge/frame.h"
#include "spedge/tokenizer.h"

#define CONFIG_AT 8u
#define POOL_AT (CONFIG_AT + TOKENIZER_CONFIG_BYTES)
#define WORDS_AT (POOL_AT + 8u)

static uint32_t crc_of_token(uint32_t crc, const sp_tokenizer_t *tok)
{
    const sp_token_t *token = sp_tokenizer_token(tok);
    uint8_t bytes[16], *p = sp_put_u16(bytes, token->x);
    sp_token_cursor_t cursor;
    sp_event_t event;

    p = sp_put_u16(p, token->y);
    p = sp_put_u64(p, token->t);
    sp_put_u32(p, token->n);
    crc = sp_crc32(crc, bytes, sizeof bytes);
    sp_token_cursor_init(&cursor, tok);
    while (sp_token_cursor_read(&cursor, &event, 1) > 0) {
        p = sp_put_u64(bytes, event.t);
        p = sp_put_u16(p, event.x);
        p = sp_put_u16(p, event.y);
        p = sp_put_u8(p, event.p);
        crc = sp_crc32(crc, bytes, (size_t)(p - bytes));
    }
    return crc;
}

static uint32_t crc_of_tokens(sp_tokenizer_t *tok, const uint8_t *in, size_t bytes)
{
    sp_evt2_t decoder;
    uint32_t crc = 0;

    sp_evt2_init(&decoder);
    sp_tokenizer_reset(tok);
    for (size_t at = 0, used; at < bytes; at += used)
        if (sp_tokenizer_push_evt2(tok, &decoder, in + at, bytes - at, &used) == SP_TOKEN)
            crc = crc_of_token(crc, tok);
    while (sp_tokenizer_end(tok) == SP_TOKEN)
        crc = crc_of_token(crc, tok);
    return crc;
}

static void measure(uint8_t *memory, size_t size)
{
    const size_t bytes = sp_get_u32(memory + 4);
    sp_tokenizer_config_t config = app_get_tokenizer(memory + CONFIG_AT);
    sp_tokenizer_t *tok;
    sp_evt2_t decoder;
    sp_tokenizer_stats_t stats;
    uint8_t *in = memory + WORDS_AT;
    uint8_t *rest = in + bench_after(bytes);

    config.pool_events = sp_get_u32(memory + POOL_AT);
    if (bytes > size || sp_tokenizer_init(&tok, &config, rest, size - (size_t)(rest - memory)) != SP_OK) {
        say("the recording and the tokenizer do not fit the board's memory\n");
        return;
    }
    sp_evt2_init(&decoder);
    const uint64_t begin = port_counter();
    for (size_t at = 0, used; at < bytes; at += used)
        sp_tokenizer_push_evt2(tok, &decoder, in + at, bytes - at, &used);
    while (sp_tokenizer_end(tok) == SP_TOKEN) {
    }
    const uint64_t end = port_counter();
    sp_tokenizer_stats(tok, &stats);
    say_number(stats.taken, " ");
    say_number(stats.tokens, " ");
    say_number(stats.pool_lost, " ");
    say_number(end - begin, " ");
    say_number(crc_of_tokens(tok, in, bytes), "\n");
}
