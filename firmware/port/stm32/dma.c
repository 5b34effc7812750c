#include "dma.h"

#if defined(CHIP_DMA_CLOCKS)

#define STOP_POLLS 10000u

void dma_stop(const dma_t *dma)
{
    DMA_CR(dma->at, dma->stream) &= ~DMA_CR_ON;
    for (uint32_t i = 0; i < STOP_POLLS && (DMA_CR(dma->at, dma->stream) & DMA_CR_ON) != 0; i++) {
    }
    (void)dma_flags(dma);
}

void dma_start(const dma_t *dma, uint32_t from, uint32_t first, uint32_t second, uint32_t items, uint32_t how)
{
    dma_stop(dma);
#if CHIP_DMA_REQUESTS
    REG(CHIP_DMA_REQUESTS + 4u * (dma->stream + (dma->at == DMA2 ? 8u : 0))) = dma->request;
#else
    how |= DMA_CR_CHANNEL(dma->request);
#endif
    DMA_FROM(dma->at, dma->stream) = from;
    DMA_TO(dma->at, dma->stream, 0) = first;
    DMA_TO(dma->at, dma->stream, 1) = second;
    DMA_LEFT(dma->at, dma->stream) = items;
    DMA_CR(dma->at, dma->stream) = how;
    DMA_CR(dma->at, dma->stream) = how | DMA_CR_ON;
}

uint32_t dma_flags(const dma_t *dma)
{
    const uint32_t at = DMA_FLAGS_AT(dma->stream);
    const uint32_t flags = DMA_STATUS(dma->at, dma->stream) >> at & DMA_FLAGS;
    DMA_CLEAR(dma->at, dma->stream) = flags << at;
    return flags;
}

#endif
