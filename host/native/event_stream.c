#include "event_stream.h"

#include "record.h"

size_t sp_es_event_bytes(const sp_es_t *es)
{
    return es->kind == SP_ES_COLOR ? 8 : 5;
}

/* Take a byte between events: a time that passes, or the first of an event. Whether it is the latter. */
SP_INLINE int starts_event(sp_es_t *es, uint8_t byte)
{
    if (es->kind == SP_ES_ATIS) {
        const int overflow = (byte & 0xfc) == 0xfc;
        es->t += overflow ? 63u * (byte & 3u) : byte >> 2;
        return !overflow;
    }
    if (byte == 0xff)
        es->t += es->kind == SP_ES_DVS ? 127 : 254;
    if (byte >= 0xfe)
        return 0;
    es->t += es->kind == SP_ES_DVS ? byte >> 1 : byte;
    return 1;
}

/* The event whose bytes are there. Returns the end of its record, or to. */
static uint8_t *take_event(sp_es_t *es, uint8_t *to)
{
    const uint8_t *at = es->record;
    const uint32_t x = at[1] | (uint32_t)at[2] << 8, y = at[3] | (uint32_t)at[4] << 8;

    if (x >= es->width || y >= es->height) {
        es->outside++;
        es->damaged = !es->drop;
        return to;
    }
    if (es->kind == SP_ES_ATIS && (at[0] & 1u)) {
        es->exposures++;
        return to;
    }
    const uint32_t p = es->kind == SP_ES_COLOR ? 1u : (es->kind == SP_ES_DVS ? at[0] : at[0] >> 1) & 1u;
    sp_record_put(to, es->t, x, es->height - 1u - y, p);
    return to + SP_RECORD;
}

size_t sp_es_decode(sp_es_t *es, const uint8_t *in, size_t n, uint8_t *records)
{
    const size_t size = sp_es_event_bytes(es);
    uint8_t *to = records;

    for (size_t i = 0; i < n && !es->damaged; i++) {
        es->consumed++;
        if (es->held == 0 && !starts_event(es, in[i]))
            continue;
        if (es->held < sizeof es->record)
            es->record[es->held] = in[i];
        if (++es->held == size) {
            es->held = 0;
            to = take_event(es, to);
        }
    }
    return (size_t)(to - records) / SP_RECORD;
}
