/* Measures what an event costs: EVT2 words that lie in memory already are decoded and tokenized, and the counter is read
 * before and after. `spedge bench tokenizer --board` puts them there with the emulator's loader. In the memory of the
 * port: "SPB1", bytes of words u32, the tokenizer as in CONFIGURE (SPEC.md), pool_events u32, 0 u32, the words. What is
 * behind them is the tokenizer's. Says "events tokens cost" in a line of text. */
#include "port.h"

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
    say_number(end - begin, "\n");
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
