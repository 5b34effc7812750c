/* Bytes from an interrupt to the main loop, for ports: one puts, one takes, nobody locks.
 * A ring that overflows remembers where and by how much; until the reader has come to that place, all further bytes
 * are dropped, so that there is never more than one such place. */
#ifndef SP_PORT_RING_H_INCLUDED
#define SP_PORT_RING_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

typedef struct port_ring {
    volatile uint8_t *bytes;
    uint32_t size;          /* a power of two */
    volatile uint32_t head; /* bytes put; the interrupt's */
    volatile uint32_t tail; /* bytes taken; the main loop's */
    volatile uint32_t gap;  /* bytes dropped at head; the reader sets it back to 0 with the interrupt masked */
    uint32_t lost;          /* bytes dropped before tail */
    uint32_t seen;          /* head when the reader looked last */
} port_ring_t;

static inline void port_ring_init(port_ring_t *ring, volatile uint8_t *bytes, uint32_t size)
{
    *ring = (port_ring_t){.bytes = bytes, .size = size};
}

static inline int port_ring_is_full(const port_ring_t *ring)
{
    return ring->head - ring->tail == ring->size;
}

/* The interrupt: one more byte, or what is left of it. */
static inline void port_ring_put(port_ring_t *ring, uint8_t byte)
{
    uint32_t head = ring->head;
    if (ring->gap > 0 || head - ring->tail == ring->size) {
        ring->gap++;
    } else {
        ring->bytes[head & (ring->size - 1u)] = byte;
        ring->head = head + 1u;
    }
}

/* The interrupt: the hardware lost at least one byte. */
static inline void port_ring_overrun(port_ring_t *ring)
{
    ring->gap++;
}

static inline size_t port_ring_take(port_ring_t *ring, uint8_t *out, size_t capacity)
{
    uint32_t tail = ring->tail;
    uint32_t waiting = ring->head - tail;
    size_t n = waiting < capacity ? waiting : capacity;
    for (size_t i = 0; i < n; i++)
        out[i] = ring->bytes[(tail + i) & (ring->size - 1u)];
    ring->tail = tail + (uint32_t)n;
    ring->seen = ring->tail + (waiting - (uint32_t)n);
    return n;
}

/* Bytes lost before the next one to be taken. Call with the interrupt masked. */
static inline uint32_t port_ring_lost(port_ring_t *ring)
{
    if (ring->gap > 0 && ring->head == ring->tail) {
        ring->lost += ring->gap;
        ring->gap = 0;
    }
    return ring->lost;
}

/* Whether bytes have come since the reader looked last; it counts as having looked. */
static inline int port_ring_is_news(port_ring_t *ring)
{
    uint32_t head = ring->head;
    int is_news = head != ring->seen || (ring->gap > 0 && head == ring->tail);
    ring->seen = head;
    return is_news;
}

static inline uint8_t port_ring_level(const port_ring_t *ring)
{
    return (uint8_t)((uint64_t)(ring->head - ring->tail) * 255u / ring->size);
}

#endif
