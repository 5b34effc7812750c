/* Arm MPS2 with the AN386 (Cortex-M4F) or AN500 (Cortex-M7) image, as QEMU has them.
 * Link: CMSDK UART0. Counter: CMSDK timer 0, which under `-icount shift=0` (1 ns an instruction) ticks once in
 * 40 instructions. Memory: the PSRAM, by symbols of the linker script. */
#include "port.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "mps2"
#endif

#define REG(address) (*(volatile uint32_t *)(address))

#define TIMER0 0x40000000u
#define TIMER_CTRL REG(TIMER0 + 0x0)
#define TIMER_VALUE REG(TIMER0 + 0x4)
#define TIMER_RELOAD REG(TIMER0 + 0x8)
#define TIMER_INTCLEAR REG(TIMER0 + 0xc)
#define TIMER_CTRL_ENABLE 1u
#define TIMER_CTRL_INTERRUPT 8u
#define TIMER_IRQ 8u
#define INSTRUCTIONS_PER_TICK 40u /* 25 MHz, 1 ns an instruction */

#define UART0 0x40004000u
#define UART_DATA REG(UART0 + 0x0)
#define UART_STATE REG(UART0 + 0x4)
#define UART_CTRL REG(UART0 + 0x8)
#define UART_INTCLEAR REG(UART0 + 0xc)
#define UART_BAUDDIV REG(UART0 + 0x10)
#define UART_STATE_TXFULL 1u
#define UART_STATE_RXFULL 2u
#define UART_CTRL_TX_RX 3u
#define UART_CTRL_INTERRUPTS 0xcu
#define UART_INT_TX_RX 3u
#define UART_RX_IRQ 0u
#define UART_TX_IRQ 1u

#define NVIC_ISER0 REG(0xe000e100u)
#define NVIC_ICPR0 REG(0xe000e280u)
#define WAKING_IRQS (1u << UART_RX_IRQ | 1u << UART_TX_IRQ | 1u << TIMER_IRQ)

static int write_blocked;

extern uint8_t link_memory_start[], link_memory_end[]; /* linker script */

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    TIMER_RELOAD = UINT32_MAX;
    TIMER_VALUE = UINT32_MAX;
    TIMER_CTRL = TIMER_CTRL_ENABLE | TIMER_CTRL_INTERRUPT;

    UART_BAUDDIV = 16;
    UART_CTRL = UART_CTRL_TX_RX | UART_CTRL_INTERRUPTS;
    (void)UART_DATA; /* else a byte sent before now can keep the receiver full */

    /* Interrupts stay masked and have no handlers: when enabled here they still end a WFI. */
    __asm volatile("cpsid i");
    NVIC_ISER0 = WAKING_IRQS;
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_INSTRUCTIONS};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    size_t n = 0;
    while (n < capacity && (UART_STATE & UART_STATE_RXFULL) != 0) {
        out[n++] = (uint8_t)UART_DATA;
    }
    return n;
}

size_t port_write(const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (UART_STATE & UART_STATE_TXFULL) == 0) {
        UART_DATA = data[done++];
    }
    write_blocked = done < n;
    return done;
}

/* The timer counts 32 bits down and wraps after 171 s of the machine's time; its interrupt ends a WFI, so this
 * is called at least once in each round. */
uint64_t port_counter(void)
{
    static uint32_t last;
    static uint64_t base;
    uint32_t ticks = UINT32_MAX - TIMER_VALUE;
    if (ticks < last) {
        base += (uint64_t)1 << 32;
    }
    last = ticks;
    return (base + ticks) * INSTRUCTIONS_PER_TICK;
}

void *port_memory(size_t *size)
{
    *size = (size_t)(link_memory_end - link_memory_start);
    return link_memory_start;
}

/* What comes after the flags were cleared ends the WFI, even between the last look and the WFI. */
void port_idle(void)
{
    port_counter();
    TIMER_INTCLEAR = 1;
    UART_INTCLEAR = UART_INT_TX_RX;
    NVIC_ICPR0 = WAKING_IRQS;
    uint32_t state = UART_STATE;
    int can_read = !write_blocked && (state & UART_STATE_RXFULL) != 0;
    int can_write = write_blocked && (state & UART_STATE_TXFULL) == 0;
    if (!can_read && !can_write) {
        __asm volatile("dsb\n\twfi" ::: "memory");
    }
}
