/* The bytes after the header of an Event Stream file (.es). */
#ifndef SP_EVENT_STREAM_H_INCLUDED
#define SP_EVENT_STREAM_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

enum { SP_ES_DVS = 1, SP_ES_ATIS = 2, SP_ES_COLOR = 4 }; /* as the header says it */

typedef struct sp_es {
    uint64_t t;                            /* us */
    uint64_t consumed, exposures, outside; /* bytes; ATIS exposure measurements and events outside, left out */
    uint16_t width, height;
    uint8_t kind;      /* SP_ES_* */
    uint8_t drop;      /* events outside the sensor are left out and counted; else the first ends the stream */
    uint8_t damaged;   /* it has: the event that ends before `consumed` is outside. Nothing more comes */
    uint8_t held;      /* bytes of an event so far */
    uint8_t record[7]; /* those, the last of 8 left out: a color's blue */
} sp_es_t;

/* Bytes of an event. */
size_t sp_es_event_bytes(const sp_es_t *es);

/* Take n bytes, cut anywhere; *es is 0 but for its sizes, kind and drop in the beginning. Writes records (record.h), at most
 * one for each sp_es_event_bytes of those held and given, and returns how many. The file's y axis points up; rows here count
 * from the top. Color events have no polarity and get 1. */
size_t sp_es_decode(sp_es_t *es, const uint8_t *in, size_t n, uint8_t *records);

#endif
