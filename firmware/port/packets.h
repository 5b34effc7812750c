/* Packets of a sensor's EVT2 words from a DMA's interrupt to the main loop, for ports: one puts, one takes, nobody locks.
 * The DMA always has memory to write to. A packet that finds no room is looked through and given up: its events are
 * counted, and its last time word is kept, so that what comes behind the gap has its right time. Each gap is remembered
 * with the packet behind it. Behind bytes that never came events have no time until the next time word: they are lost. */
#ifndef SP_PORT_PACKETS_H_INCLUDED
#define SP_PORT_PACKETS_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PACKET_WORDS 256u
#define PACKET_BYTES (4u * PACKET_WORDS)
#ifndef PACKETS_MOST
#define PACKETS_MOST 256u /* their numbers are bytes */
#endif
#define PACKETS_LEAST 4u /* two for the DMA */
#define PACKET_TIME_HIGH 8u

/* What was lost in one place. */
typedef struct packet_gap {
    uint32_t events;    /* of packets that were given up */
    uint32_t bytes;     /* that never came: what they held, nobody knows */
    uint32_t time_word; /* the last one of the packets that were given up; 0: none */
} packet_gap_t;

typedef struct packets {
    uint32_t *words; /* [count][PACKET_WORDS] */
    uint32_t count;
    volatile uint32_t head, tail;  /* packets ready: the interrupt's, the main loop's */
    volatile uint32_t freed, used; /* packets that are free: the main loop's, the interrupt's */
    uint8_t ready[PACKETS_MOST], free[PACKETS_MOST];
    uint16_t length[PACKETS_MOST];     /* words, by the packet's number */
    packet_gap_t before[PACKETS_MOST]; /* in front of it */
    packet_gap_t gap; /* behind the last one that is ready; the main loop takes it with the interrupt masked */
    /* the main loop's: */
    uint32_t at;        /* words taken of the first packet */
    uint32_t time_word; /* to be said before the next word; 0: none */
    uint32_t seen;      /* head when the reader looked last */
    uint8_t is_told;    /* the gap in front of the first packet was asked for */
    uint8_t is_untimed; /* nobody knows which time word was the last one before the next word */
    uint64_t lost_events, lost_bytes;
} packets_t;

static inline int packet_gap_is_there(const packet_gap_t *gap)
{
    return (gap->events | gap->bytes) != 0;
}

/* Begin, or begin anew. bytes: at least PACKETS_LEAST packets. The interrupt is masked. */
static inline void packets_init(packets_t *p, void *memory, size_t bytes)
{
    const size_t room = bytes / PACKET_BYTES;
    memset(p, 0, sizeof *p);
    p->words = (uint32_t *)memory;
    p->count = room < PACKETS_MOST ? (uint32_t)room : PACKETS_MOST;
    p->freed = p->count;
    for (uint32_t i = 0; i < p->count; i++)
        p->free[i] = (uint8_t)i;
}

static inline uint32_t *packets_memory(const packets_t *p, uint8_t packet)
{
    return p->words + PACKET_WORDS * (uint32_t)packet;
}

/* ---- the interrupt ------------------------------------------------------------------------------------------- */

/* A packet to fill. For the first two of a DMA, when none is ready. */
static inline uint8_t packets_take_free(packets_t *p)
{
    return p->free[p->used++ % p->count];
}

/* So many bytes did not come. */
static inline void packets_missed(packets_t *p, uint32_t bytes)
{
    p->gap.bytes += bytes;
}

static inline void packets_give_up(packets_t *p, const uint32_t *words, uint32_t n)
{
    uint32_t events = 0, time_word = p->gap.time_word;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t type = words[i] >> 28;
        events += type <= 1u;
        if (type == PACKET_TIME_HIGH)
            time_word = words[i];
    }
    p->gap.events += events;
    p->gap.time_word = time_word;
}

/* The packet holds n words. Returns the one to fill in its place: it itself when there is no other. */
static inline uint8_t packets_put(packets_t *p, uint8_t packet, uint32_t n)
{
    if (n == 0)
        return packet;
    if (p->used == p->freed) {
        packets_give_up(p, packets_memory(p, packet), n);
        return packet;
    }
    p->length[packet] = (uint16_t)n;
    p->before[packet] = p->gap;
    p->gap = (packet_gap_t){0, 0, 0};
    p->ready[p->head % p->count] = packet;
    __asm volatile("" ::: "memory"); /* all of it before head */
    p->head = p->head + 1u;
    return packets_take_free(p);
}

/* ---- the main loop ------------------------------------------------------------------------------------------- */

static inline void packets_forget(packets_t *p, const packet_gap_t *gap)
{
    p->lost_events += gap->events;
    p->lost_bytes += gap->bytes;
    if (gap->time_word != 0)
        p->time_word = gap->time_word;
    p->is_untimed = gap->bytes > 0 || (p->is_untimed && gap->time_word == 0);
}

/* Skip words that cannot be understood: events among them are lost, too. */
static inline void packets_skip_untimed(packets_t *p, const uint32_t *words, uint32_t n)
{
    while (p->is_untimed && p->at < n) {
        const uint32_t type = words[p->at] >> 28;
        p->is_untimed = type != PACKET_TIME_HIGH;
        p->lost_events += type <= 1u;
        p->at += p->is_untimed;
    }
}

/* Copy words to out, whole ones, at most n bytes; returns how many bytes. Stops before a gap until packets_lost was
 * called. The first word behind it is the last time word that was given up there. */
static inline size_t packets_take(packets_t *p, uint8_t *out, size_t n)
{
    size_t done = 0;
    if (p->time_word != 0 && n >= 4u) {
        memcpy(out, &p->time_word, 4);
        p->time_word = 0;
        done = 4;
    }
    while (p->head != p->tail && n - done >= 4u) {
        const uint8_t packet = p->ready[p->tail % p->count];
        if (p->at == 0 && !p->is_told && packet_gap_is_there(&p->before[packet]))
            break;
        packets_skip_untimed(p, packets_memory(p, packet), p->length[packet]);
        const uint32_t left = p->length[packet] - p->at, most = (uint32_t)((n - done) / 4u);
        const uint32_t words = left < most ? left : most;
        memcpy(out + done, packets_memory(p, packet) + p->at, 4u * words);
        done += 4u * words;
        p->at += words;
        if (p->at == p->length[packet]) {
            p->at = 0;
            p->is_told = 0;
            p->tail = p->tail + 1u;
            p->free[p->freed % p->count] = packet;
            __asm volatile("" ::: "memory");
            p->freed = p->freed + 1u;
        }
    }
    p->seen = p->head;
    return done;
}

/* Add what was lost in front of the next word to lost_events and lost_bytes. Call with the interrupt masked. */
static inline void packets_lost(packets_t *p)
{
    if (p->head == p->tail) {
        packets_forget(p, &p->gap);
        p->gap = (packet_gap_t){0, 0, 0};
    } else if (p->at == 0 && !p->is_told) {
        packets_forget(p, &p->before[p->ready[p->tail % p->count]]);
        p->is_told = 1;
    }
}

/* Whether packets have come since the reader looked last. */
static inline int packets_is_news(const packets_t *p)
{
    return p->head != p->seen;
}

static inline uint8_t packets_level(const packets_t *p)
{
    return p->count > 2u ? (uint8_t)((p->head - p->tail) * 255u / (p->count - 2u)) : 0;
}

#endif
