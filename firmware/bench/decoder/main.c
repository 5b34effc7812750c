/* Measures what a camera's word costs: words that lie in memory already are decoded into a buffer of events, again and again
 * the same one, and the counter is read before and after. `spedge bench decoder --board` puts them there. In the memory of
 * the port: "SPB2", bytes of words u32, width u16, height u16, SP_FORMAT_* u32, the words. Says "words events cost". */
#define BENCH_MAGIC "SPB2"
#include "../bench.h"

#include "spedge/decode.h"
#include "spedge/wire.h"

#define WORDS_AT 16u
#define EVENTS 1024u

static void measure(uint8_t *memory, size_t size)
{
    static sp_event_t events[EVENTS];
    const size_t bytes = sp_get_u32(memory + 4);
    const sp_decoder_config_t config = {.width = sp_get_u16(memory + 8),
                                        .height = sp_get_u16(memory + 10),
                                        .format = (uint8_t)sp_get_u32(memory + 12)};
    sp_decoder_t decoder;

    if (bytes > size - WORDS_AT || sp_decoder_init(&decoder, &config) != SP_OK) {
        say("these are no words of a format\n");
        return;
    }
    int rc = SP_MORE;
    const uint64_t begin = port_counter();
    for (size_t at = 0, used, got; rc == SP_MORE; at += used)
        rc = sp_decoder_decode(&decoder, memory + WORDS_AT + at, bytes - at, &used, events, EVENTS, &got);
    const uint64_t end = port_counter();
    say_number(decoder.stats.words, " ");
    say_number(decoder.stats.events, " ");
    say_number(end - begin, "\n");
}
