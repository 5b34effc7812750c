/* The system counter of an SSE-300: 64 bits at 32 MHz, which never wrap and need no interrupt. */
#ifndef SP_TIMER_H_INCLUDED
#define SP_TIMER_H_INCLUDED

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
