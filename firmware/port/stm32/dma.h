/* A stream of a DMA, from a peripheral's register to memory that it reaches and no cache holds. */
#ifndef SP_STM32_DMA_H_INCLUDED
#define SP_STM32_DMA_H_INCLUDED

#include "board.h"

#include <stdint.h>

typedef struct dma {
    uint32_t at;      /* DMA1 or DMA2 */
    uint32_t stream;  /* of it */
    uint32_t request; /* what moves it: a channel, or a number of the multiplexer */
    uint32_t irq;
} dma_t;

#if defined(CHIP_DMA_CLOCKS)
/* Off, for certain: a stream ends the item that it is moving first. Its flags are gone. */
void dma_stop(const dma_t *dma);

/* Move `items` from the register again and again, as `how` says (DMA_CR_...). The second buffer: DMA_CR_TWO_BUFFERS. */
void dma_start(const dma_t *dma, uint32_t from, uint32_t first, uint32_t second, uint32_t items, uint32_t how);

/* The flags since it was asked last. */
uint32_t dma_flags(const dma_t *dma);

/* Items until the buffer that is being filled is full. */
static inline uint32_t dma_left(const dma_t *dma)
{
    return DMA_LEFT(dma->at, dma->stream);
}

/* Which buffer is being filled. */
static inline uint32_t dma_buffer(const dma_t *dma)
{
    return (DMA_CR(dma->at, dma->stream) & DMA_CR_SECOND) != 0;
}

/* Where the other one, which is not, is to be. */
static inline void dma_set_buffer(const dma_t *dma, uint32_t buffer, uint32_t to)
{
    DMA_TO(dma->at, dma->stream, buffer) = to;
}
#endif

#endif
