/* Boards with an RP2040 or an RP2350, on parts of pico-sdk: the link is the chip's own USB. */
#include "port.h"

#include "end.h"
#include "no_camera.h"
#include "no_frames.h"
#include "usb_cdc.h"

#include <hardware/clocks.h>
#include <hardware/irq.h>
#include <hardware/resets.h>
#include <hardware/sync.h>
#include <pico/runtime_init.h>

#include "cortex_m.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "rp2"
#endif
#define SYSTICK_BITS 24u /* 134 ms at 125 MHz, 112 ms at 150 MHz */

extern uint8_t link_memory_start[], link_memory_end[], link_vectors_start[]; /* linker script */

static volatile uint32_t rounds; /* of the SysTick */

void port_tick(void);

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    SCB_VTOR = (uint32_t)link_vectors_start;
    end_guard_stack();
    runtime_init_early_resets();
    runtime_init_clocks();
    runtime_init_post_clock_resets();
    end_recall();
    end_find_id();
    SYSTICK_LOAD = (1u << SYSTICK_BITS) - 1u;
    SYSTICK_CTRL = SYSTICK_CTRL_CORE_CLOCK_INTERRUPT_ON;
    watchdog_begin();
    usb_cdc_start();
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_CYCLES};
    return &info;
}

/* Cycles of the core: the SysTick counts them down. */
uint64_t port_counter(void)
{
    const uint32_t masked = save_and_disable_interrupts();
    uint32_t round = rounds, left = SYSTICK_NOW;
    if ((SCB_ICSR & SCB_ICSR_TICK_PENDS) != 0) {
        round++;
        left = SYSTICK_NOW;
    }
    restore_interrupts(masked);
    return ((uint64_t)round << SYSTICK_BITS) + ((1u << SYSTICK_BITS) - 1u - left);
}

void port_tick(void)
{
    rounds++;
    watchdog_tick();
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    *size = kind == PORT_MEMORY_BULK ? (size_t)(link_memory_end - link_memory_start) : 0;
    return link_memory_start;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    watchdog_feed();
    return usb_cdc_read(out, capacity);
}

size_t port_write(const uint8_t *data, size_t n)
{
    watchdog_feed();
    return usb_cdc_write(data, n);
}

/* An interrupt after the look is an event, which ends the WFE: nothing falls between. */
void port_idle(void)
{
    if (!usb_cdc_is_news())
        __asm volatile("dsb\n\twfe" ::: "memory");
}

/* ---- what TinyUSB's driver asks of pico-sdk beside registers: its handler is in the vectors already ------------ */

void irq_add_shared_handler(uint num, irq_handler_t handler, uint8_t order)
{
    (void)num;
    (void)handler;
    (void)order;
}

void irq_set_enabled(uint num, bool enabled)
{
    if (enabled)
        NVIC_ISER(num) = IRQ_BIT(num);
    else
        NVIC_ICER(num) = IRQ_BIT(num);
    __asm volatile("dsb\n\tisb" ::: "memory");
}

void hard_assertion_failure(void)
{
    cortex_m_died((uint32_t)__builtin_return_address(0), 0);
}

/* The link is what failed: the next HELLO says where. */
void panic(const char *text, ...)
{
    (void)text;
    cortex_m_died((uint32_t)__builtin_return_address(0), 0);
    for (;;) {
    }
}
