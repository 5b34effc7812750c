/* Measures what an event costs: EVT2 words that lie in memory already are decoded and tokenized, and the counter is read
 * before and after. `spedge bench tokenizer --board` puts them there with the emulator's loader. In the memory of the
 * port: "SPB1", bytes of words u32, the tokenizer as in CONFIGURE (SPEC.md), pool_events u32, 0 u32, the words. What is
 * behind them is the tokenizer's. Then it does the same again and takes the CRC-32 of all tokens in their order: x u16,
 * y u16, t u64, n u32, then each event's t u64, x u16, y u16, p u8, little-endian.
 * Says "events tokens lost cost crc" in a line of text. */
#include "port.h"

#include "spedge/frame.h"
#include "spedge/tokenizer.h"
#include "spedge/wire.h"

#include <string.h>

#define CONFIG_AT 8u
#define POOL_AT (CONFIG_AT + 56u)
#define WORDS_AT (POOL_AT + 8u)

static void say(const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        const size_t written = port_write((const uint8_t *)text, n);
        text += written;
        n -= written;
    }
}

static void say_number(uint64_t number, const char *after)
{
    char digits[21], *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + number % 10u);
        number /= 10u;
    } while (number > 0);
    say(at);
    say(after);
}

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    (void)detail_a;
    (void)detail_b;
    say(text);
    say("\n");
    for (;;)
        port_idle();
}

static sp_tokenizer_config_t config_at(const uint8_t *p)
{
    sp_tokenizer_config_t c;
    memset(&c, 0, sizeof c);
    c.width = sp_get_u16(p);
    c.height = sp_get_u16(p + 2);
    c.patch_size = sp_get_u16(p + 4);
    c.kind = p[6];
    c.threshold = sp_get_f64(p + 8);
    c.absolute_refractory_us = sp_get_u64(p + 16);
    c.relative_refractory_us = sp_get_u64(p + 24);
    c.relative_scale = sp_get_f64(p + 32);
    c.decay_per_us = sp_get_f64(p + 40);
    c.duration_us = sp_get_u64(p + 48);
    return c;
}

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
    sp_tokenizer_config_t config = config_at(memory + CONFIG_AT);
    sp_tokenizer_t *tok;
    sp_evt2_t decoder;
    sp_tokenizer_stats_t stats;
    uint8_t *in = memory + WORDS_AT;
    uint8_t *rest = in + ((bytes + 15u) & ~(size_t)15u);

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

int main(int argc, char **argv)
{
    size_t size;
    port_init(argc, argv);
    uint8_t *memory = port_memory(&size);
    if (memcmp(memory, "SPB1", 4) == 0)
        measure(memory, size);
    else
        say("no recording in memory\n");
    for (;;)
        port_idle();
}
