/* Caches of a Cortex-M7. Nothing here is read or written by DMA, so no memory has to be kept out of them. */
#ifndef SP_STM32_CACHES_H_INCLUDED
#define SP_STM32_CACHES_H_INCLUDED

#include "board.h"

static inline void caches_enable(void)
{
#if defined(SP_STM32F7) || defined(SP_STM32H7)
    SCB_ICIALLU = 0;
    SCB_CSSELR = 0; /* the data cache, whose lines hold anything after a reset: by set and way */
    __asm volatile("dsb\n\tisb" ::: "memory");
    const uint32_t geometry = SCB_CCSIDR, sets = geometry >> 13 & 0x7fffu, ways = geometry >> 3 & 0x3ffu;
    for (uint32_t set = 0; set <= sets; set++)
        for (uint32_t way = 0; way <= ways; way++)
            SCB_DCISW = way << 30 | set << 5;
    __asm volatile("dsb" ::: "memory");
    SCB_CCR |= SCB_CCR_CODE_CACHE | SCB_CCR_DATA_CACHE;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
}

#endif
