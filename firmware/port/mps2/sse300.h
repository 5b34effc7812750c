/* The devices of the AN547 image, an SSE-300, by their secure addresses: the core starts in that half. */
#ifndef SP_SSE300_H_INCLUDED
#define SP_SSE300_H_INCLUDED

#include "cortex_m.h"

#define UART0 0x59303000u
#define UART1 0x59304000u
#define UART0_RX_IRQ 33u
#define UART0_TX_IRQ 34u
#define UART1_RX_IRQ 35u

/* The system counter of an SSE-300: 64 bits at 32 MHz, which never wrap and need no interrupt. */
#define COUNTER_CONTROL REG(0x58100000u) /* CNTCR */
#define COUNTER_LOW REG(0x58101000u)     /* CNTCV, in the status frame */
#define COUNTER_HIGH REG(0x58101004u)
#define COUNTER_ENABLE 1u
#define TIMER_IRQ UART0_RX_IRQ /* none of its own */

static inline void timer_start(void)
{
    COUNTER_CONTROL = COUNTER_ENABLE;
}

static inline void timer_clear(void)
{
}

/* 31.25 instructions of 1 ns in a tick. */
static inline uint64_t timer_instructions(void)
{
    uint32_t high, low;
    do {
        high = COUNTER_HIGH;
        low = COUNTER_LOW;
    } while (high != COUNTER_HIGH);
    return (((uint64_t)high << 32) | low) * 125u / 4u;
}

#endif
