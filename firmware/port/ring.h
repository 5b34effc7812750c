/* Bytes from an interrupt or a DMA to the main loop, for ports: one puts, one takes, nobody locks.
 * A ring that an interrupt fills and that overflows remembers where and by how much; until the reader has come to that
 * place, all further bytes are dropped, so that there is never more than one such place. A DMA goes round and round, and
 * drops nothing: what it has written over before it was taken is lost in front of the next byte. */
#ifndef SP_PORT_RING_H_INCLUDED
#define SP_PORT_RING_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

typedef struct port_ring {
    volatile uint8_t *bytes;
    uint32_t size;          /* a power of two */
    volatile uint32_t head; /* bytes put; the interrupt's */
    volatile uint32_t tail; /* bytes taken; the main loop's */
    volatile uint32_t gap;  /* bytes dropped at gap_at; the reader sets it back to 0 with the interrupt masked */
    volatile uint32_t gap_at;
    uint32_t lost; /* bytes dropped before tail */
    uint32_t seen; /* head when the reader looked last */
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
        ring->gap_at = head;
        ring->gap++;
    } else {
        ring->bytes[head & (ring->size - 1u)] = byte;
        ring->head = head + 1u;
    }
}

/* The interrupt: the hardware lost at least one byte. */
static inline void port_ring_overrun(port_ring_t *ring)
{
    if (ring->gap == 0)
        ring->gap_at = ring->head;
    ring->gap++;
}

/* The interrupt, or the reader with it masked: a DMA, which goes round, writes its next byte at `at`. To be called once
 * a round at least. */
static inline void port_ring_moved(port_ring_t *ring, uint32_t at)
{
    ring->head += (at - ring->head) & (ring->size - 1u);
}

/* Whether a DMA has written over bytes from that place on. */
static inline int port_ring_is_over(const port_ring_t *ring, uint32_t tail)
{
    return ring->head - tail > ring->size;
}

static inline size_t port_ring_take(port_ring_t *ring, uint8_t *out, size_t capacity)
{
    uint32_t tail = ring->tail;
    uint32_t waiting = ring->head - tail;
    if (port_ring_is_over(ring, tail))
        return 0; /* until port_ring_lost was called */
    if (ring->gap > 0 && ring->gap_at - tail < waiting)
        waiting = ring->gap_at - tail;
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
    if (port_ring_is_over(ring,
                          ring->tail)) { /* half of the ring is a start that the DMA does not catch up with at once */
        const uint32_t skipped = ring->head - ring->tail - ring->size / 2u;
        if (ring->gap > 0 && ring->gap_at - ring->tail < skipped)
            ring->gap_at = ring->tail + skipped;
        ring->tail += skipped;
        ring->lost += skipped;
    }
    if (ring->gap > 0 && ring->gap_at == ring->tail) {
        ring->lost += ring->gap;
        ring->gap = 0;
    }
    return ring->lost;
}

/* Whether bytes have come since the reader looked last; it counts as having looked. */
static inline int port_ring_is_news(port_ring_t *ring)
{
    uint32_t head = ring->head;
    int is_news = head != ring->seen || (ring->gap > 0 && ring->gap_at == ring->tail);
    ring->seen = head;
    return is_news;
}

static inline uint8_t port_ring_level(const port_ring_t *ring)
{
    const uint32_t waiting = ring->head - ring->tail;
    return (uint8_t)((uint64_t)(waiting < ring->size ? waiting : ring->size) * 255u / ring->size);
}

#endif
