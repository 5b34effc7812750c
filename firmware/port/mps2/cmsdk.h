/* The devices of the MPS2 images: addresses, interrupts and the timer. */
#ifndef SP_CMSDK_H_INCLUDED
#define SP_CMSDK_H_INCLUDED

#include "cortex_m.h"

#define UART0 0x40004000u
#define UART1 0x40005000u
#define UART0_RX_IRQ 0u
#define UART0_TX_IRQ 1u
#define UART1_RX_IRQ 2u

/* CMSDK timer 0: counts 32 bits down at 25 MHz and wraps after 171 s of the machine's time. Its interrupt then ends a
 * WFI, so that timer_instructions is called at least once in each round. */
#define TIMER0 0x40000000u
#define TIMER_CTRL REG(TIMER0 + 0x0)
#define TIMER_VALUE REG(TIMER0 + 0x4)
#define TIMER_RELOAD REG(TIMER0 + 0x8)
#define TIMER_INTCLEAR REG(TIMER0 + 0xc)
#define TIMER_CTRL_ENABLE 1u
#define TIMER_CTRL_INTERRUPT 8u
#define TIMER_IRQ 8u
#define INSTRUCTIONS_PER_TICK 40u /* 25 MHz, 1 ns an instruction */

static inline void timer_start(void)
{
    TIMER_RELOAD = UINT32_MAX;
    TIMER_VALUE = UINT32_MAX;
    TIMER_CTRL = TIMER_CTRL_ENABLE | TIMER_CTRL_INTERRUPT;
}

static inline void timer_clear(void)
{
    TIMER_INTCLEAR = 1;
}

static inline uint64_t timer_instructions(void)
{
    static uint32_t last;
    static uint64_t base;
    uint32_t ticks = UINT32_MAX - TIMER_VALUE;
    if (ticks < last)
        base += (uint64_t)1 << 32;
    last = ticks;
    return (base + ticks) * INSTRUCTIONS_PER_TICK;
}

#endif
