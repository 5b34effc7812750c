/* Arm MPS2 with the AN386 (Cortex-M4F) or AN500 (Cortex-M7) image and MPS3 with AN547 (Cortex-M55), as QEMU has them.
 * Link: CMSDK UART0. Counter: a timer, which under `-icount shift=0` (1 ns an instruction) ticks once in 40
 * instructions, or 31.25. Memory: by symbols of the linker script. image.h has what differs. */
#include "port.h"

#include "image.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "mps2"
#endif

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

/* The interrupts that end a WFI are in one register of 32. */
#define NVIC_ISER REG(0xe000e100u + UART_RX_IRQ / 32u * 4u)
#define NVIC_ICPR REG(0xe000e280u + UART_RX_IRQ / 32u * 4u)
#define WAKING_IRQS (1u << UART_RX_IRQ % 32u | 1u << UART_TX_IRQ % 32u | 1u << TIMER_IRQ % 32u)

static int write_blocked;

extern uint8_t link_memory_start[], link_memory_end[]; /* linker script */

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    timer_start();

    UART_BAUDDIV = 16;
    UART_CTRL = UART_CTRL_TX_RX | UART_CTRL_INTERRUPTS;
    (void)UART_DATA; /* else a byte sent before now can keep the receiver full */

    /* Interrupts stay masked and have no handlers: when enabled here they still end a WFI. */
    __asm volatile("cpsid i");
    NVIC_ISER = WAKING_IRQS;
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

uint64_t port_counter(void)
{
    return timer_instructions();
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
    timer_clear();
    UART_INTCLEAR = UART_INT_TX_RX;
    NVIC_ICPR = WAKING_IRQS;
    uint32_t state = UART_STATE;
    int can_read = !write_blocked && (state & UART_STATE_RXFULL) != 0;
    int can_write = write_blocked && (state & UART_STATE_TXFULL) == 0;
    if (!can_read && !can_write) {
        __asm volatile("dsb\n\twfi" ::: "memory");
    }
}
