/* The ring of port/ring.h, filled by a DMA that goes round in it, for tests on the host. */
#include "ring.h"

#define SIZE 64u

static volatile uint8_t bytes[SIZE];
static port_ring_t ring;
static uint32_t at; /* where the DMA is */

void fake_open(void)
{
    at = 0;
    port_ring_init(&ring, bytes, SIZE);
}

/* With an interrupt at each half of the ring, and at the end. */
void fake_dma(const uint8_t *data, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        bytes[at] = data[i];
        at = (at + 1u) % SIZE;
        if (at % (SIZE / 2u) == 0)
            port_ring_moved(&ring, at);
    }
    port_ring_moved(&ring, at);
}

void fake_overrun(void)
{
    port_ring_overrun(&ring);
}

unsigned fake_take(uint8_t *out, unsigned n)
{
    return (unsigned)port_ring_take(&ring, out, n);
}

unsigned fake_lost(void)
{
    return port_ring_lost(&ring);
}

unsigned fake_level(void)
{
    return port_ring_level(&ring);
}
