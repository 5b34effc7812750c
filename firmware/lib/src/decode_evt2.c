#include "spedge/decode.h"

#include "evt2_words.h"

#include <string.h>

void sp_evt2_init(sp_evt2_t *d)
{
    memset(d, 0, sizeof *d);
}

void evt2_keep(sp_evt2_t *d, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d->partial |= (uint32_t)in[i] << (8u * d->partial_bytes++);
}

void evt2_take_no_event(sp_evt2_t *d, uint32_t word)
{
    switch (evt2_type(word)) {
    case EVT2_OFF:
    case EVT2_ON:
        d->stats.untimed++;
        break;
    case EVT2_TIME_HIGH:
        d->time_base = evt2_next_time(d->time_base, word, d->timed);
        d->timed = 1;
        d->stats.times++;
        break;
    case EVT2_TRIGGER:
        d->stats.triggers++;
        break;
    case EVT2_OTHER:
    case EVT2_CONTINUED:
        d->stats.other++;
        break;
    default:
        d->stats.unknown++;
        break;
    }
}

static int take_word(sp_evt2_t *d, uint32_t word, sp_event_t *out)
{
    if (evt2_type(word) > EVT2_ON || !d->timed) {
        evt2_take_no_event(d, word);
        return 0;
    }
    *out = evt2_event(d, word);
    d->stats.events++;
    return 1;
}

int sp_evt2_decode(sp_evt2_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                   size_t *got)
{
    size_t at = 0, made = 0, bytes;
    uint32_t word;

    while (evt2_peek(d, in + at, n - at, &word, &bytes)) {
        if (made == capacity) {
            *used = at;
            *got = made;
            return SP_MORE;
        }
        at += bytes;
        d->partial = 0;
        d->partial_bytes = 0;
        d->stats.words++;
        made += (size_t)take_word(d, word, &out[made]);
    }
    evt2_keep(d, in + at, n - at);
    *used = n;
    *got = made;
    return SP_OK;
}
