/* QEMU's RISC-V machine virt. Link: its 16550 UART. Counter: instret, which under `-icount shift=0` is exact.
 * Memory: a part of the RAM, by symbols of the linker script. */
#include "port.h"

#include "linked_image.h"
#include "no_camera.h"
#include "no_frames.h"
#include "no_reboot.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "virt"
#endif

#define REG8(address) (*(volatile uint8_t *)(address))
#define REG32(address) (*(volatile uint32_t *)(address))

#define UART 0x10000000u
#define UART_DATA REG8(UART + 0)
#define UART_INTERRUPTS REG8(UART + 1)
#define UART_LINE REG8(UART + 3)
#define UART_STATE REG8(UART + 5)
#define UART_IRQ 10u
#define UART_INT_RX 1u
#define UART_INT_TX 2u
#define UART_LINE_8N1 3u
#define UART_STATE_RX 1u
#define UART_STATE_TX_EMPTY 0x20u

#define PLIC 0x0c000000u
#define PLIC_PRIORITY(irq) REG32(PLIC + 4u * (irq))
#define PLIC_ENABLE REG32(PLIC + 0x2000u) /* interrupts 0 to 31 to hart 0 in machine mode */
#define PLIC_THRESHOLD REG32(PLIC + 0x200000u)
#define PLIC_CLAIM REG32(PLIC + 0x200004u)
#define MIE_EXTERNAL (1u << 11)

static int write_blocked;

extern uint8_t link_memory_start[], link_memory_end[]; /* linker script */

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    UART_LINE = UART_LINE_8N1;
    UART_INTERRUPTS = UART_INT_RX; /* the FIFO stays off: turning it on would lose a byte that is there already */

    /* Interrupts stay masked in mstatus and have no handlers: when enabled here they still end a WFI. */
    PLIC_PRIORITY(UART_IRQ) = 1;
    PLIC_ENABLE = 1u << UART_IRQ;
    PLIC_THRESHOLD = 0;
    __asm__ volatile("csrs mie, %0" : : "r"(MIE_EXTERNAL));
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_INSTRUCTIONS};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    size_t n = 0;
    while (n < capacity && (UART_STATE & UART_STATE_RX) != 0)
        out[n++] = UART_DATA;
    return n;
}

size_t port_write(const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (UART_STATE & UART_STATE_TX_EMPTY) != 0)
        UART_DATA = data[done++];
    write_blocked = done < n;
    return done;
}

uint64_t port_counter(void)
{
    uint32_t low, high, again;
    do {
        __asm__ volatile("rdinstreth %0\n\trdinstret %1\n\trdinstreth %2" : "=&r"(high), "=&r"(low), "=&r"(again));
    } while (high != again);
    return ((uint64_t)high << 32) | low;
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    *size = kind == PORT_MEMORY_BULK ? (size_t)(link_memory_end - link_memory_start) : 0;
    return link_memory_start;
}

/* The UART's interrupt is a level: one that comes after the last look is still pending at the WFI. */
void port_idle(void)
{
    UART_INTERRUPTS = write_blocked ? UART_INT_RX | UART_INT_TX : UART_INT_RX;
    const uint32_t claimed = PLIC_CLAIM;
    if (claimed != 0)
        PLIC_CLAIM = claimed;
    const uint8_t state = UART_STATE;
    const int can_write = write_blocked && (state & UART_STATE_TX_EMPTY) != 0;
    if ((state & UART_STATE_RX) == 0 && !can_write)
        __asm__ volatile("fence\n\twfi" ::: "memory");
}
