/* The MPU: nothing may touch the lowest bytes of the stack, so that one which runs over ends in a fault instead of in the
 * application's block below; nor the addresses of external memories, which no board here has set up and which a Cortex-M7
 * reads ahead of the program. Memory of a DMA is kept out of
 * the caches. The rest is as it is without an MPU. */
#ifndef SP_STM32_MPU_H_INCLUDED
#define SP_STM32_MPU_H_INCLUDED

#include "board.h"

extern uint32_t link_stack_bottom[]; /* linker script */

static inline void mpu_region(uint32_t number, uint32_t base, uint32_t rules)
{
    MPU_RNR = number;
    MPU_RBAR = base;
    MPU_RASR = rules;
}

static inline void mpu_enable(void)
{
    mpu_region(0, 0, MPU_RASR_NEVER | MPU_RASR_BITS(32) | MPU_RASR_WITHOUT(0xe7u)); /* 0x60000000 to 0x9fffffff */
    mpu_region(1, (uint32_t)link_stack_bottom, MPU_RASR_NEVER | MPU_RASR_BITS(8));
#ifdef BOARD_UNCACHED /* what a DMA writes; elsewhere its memory is one that no cache is for */
    mpu_region(2, BOARD_UNCACHED, MPU_RASR_UNCACHED | MPU_RASR_BITS(BOARD_UNCACHED_BITS));
#endif
    MPU_CTRL = MPU_CTRL_ON_WITH_DEFAULT;
    __asm volatile("dsb\n\tisb" ::: "memory");
}

#endif
