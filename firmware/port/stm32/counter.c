#include "counter.h"

#include "board.h"
#include "clock.h"
#include "port.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "stm32"
#endif

static int has_cycles;

void port_tick(void);

void counter_start(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_LAR_UNLOCK;
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u;
    __asm volatile("nop\n\tnop\n\tnop\n\tnop");
    has_cycles = DWT_CYCCNT != 0;
    clock_enable(TIM2);
    TIM_ARR(TIM2) = UINT32_MAX;
    TIM_CR1(TIM2) = has_cycles ? 0 : 1u;
    SYSTICK_LOAD = 0xffffffu; /* 100 ms: often enough for either counter to be extended */
    SYSTICK_CTRL = SYSTICK_CTRL_CORE_CLOCK_INTERRUPT_ON;
}

void port_tick(void)
{
} /* ends a WFI */

/* 32 bits wrap after 4 s in QEMU, after 25 s on silicon; port_idle asks at least every 100 ms. */
uint64_t port_counter(void)
{
    static uint32_t last;
    static uint64_t base;
    const uint32_t now = has_cycles ? DWT_CYCCNT : TIM_CNT(TIM2);
    if (now < last)
        base += (uint64_t)1 << 32;
    last = now;
    return base + now;
}

const port_info_t *port_info(void)
{
    static port_info_t info = {SP_BOARD_NAME, PORT_UNIT_CYCLES};
    info.counter_unit = has_cycles ? PORT_UNIT_CYCLES : clock_is_emulated() ? PORT_UNIT_INSTRUCTIONS : PORT_UNIT_NONE;
    return &info;
}
