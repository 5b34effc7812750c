/* The queue of port/packets.h for tests on the host: a DMA of two buffers that are filled from outside. */
#include "packets.h"

static packets_t queue;
static uint32_t memory[8][PACKET_WORDS];
static uint8_t filling[2];
static unsigned next;

void fake_open(unsigned packets)
{
    packets_init(&queue, memory, packets * PACKET_BYTES);
    filling[0] = packets_take_free(&queue);
    filling[1] = packets_take_free(&queue);
    next = 0;
}

void fake_packet(const uint32_t *words, unsigned n)
{
    memcpy(packets_memory(&queue, filling[next]), words, 4u * n);
    filling[next] = packets_put(&queue, filling[next], n);
    next ^= 1u;
}

void fake_missed(unsigned bytes)
{
    packets_missed(&queue, bytes);
}

unsigned fake_take(uint8_t *out, unsigned n)
{
    return (unsigned)packets_take(&queue, out, n);
}

/* Asks what was lost in front of the next word. */
unsigned fake_lost_events(void)
{
    packets_lost(&queue);
    return (unsigned)queue.lost_events;
}

unsigned fake_lost_bytes(void)
{
    return (unsigned)queue.lost_bytes;
}

unsigned fake_level(void)
{
    return packets_level(&queue);
}
