/* Measures what an event costs: EVT2 words that lie in memory already are decoded and tokenized, and the counter is read
 * before and after. `spedge bench tokenizer --board` puts them there. In the memory of the port: "SPB1", bytes of words u32,
 * the tokenizer as in CONFIGURE (SPEC.md), pool_events u32, 0 u32, the words. What is behind them is the tokenizer's.
 * Says "events tokens lost cost". */
#define BENCH_MAGIC "SPB1"
#include "../bench.h"
#include "settings.h"

#include "spedge/tokenizer.h"

#define CONFIG_AT 8u
#define POOL_AT (CONFIG_AT + TOKENIZER_CONFIG_BYTES)
#define WORDS_AT (POOL_AT + 8u)

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
    const uint64_t end = port_counter();
    sp_tokenizer_stats(tok, &stats);
    say_number(stats.taken, " ");
    say_number(stats.tokens, " ");
    say_number(stats.pool_lost, " ");
    say_number(end - begin, "\n");
}
