/* Arm MPS2 with the AN386 (Cortex-M4F) or AN500 (Cortex-M7) image and MPS3 with AN547 (Cortex-M55), as QEMU has them.
 * Link: CMSDK UART0. Camera port: CMSDK UART1, by a receive interrupt. Counter: a timer, which under `-icount shift=0`
 * (1 ns an instruction) ticks once in 40 instructions, or 31.25. Memory and RAM source: the PSRAM, by symbols of the linker
 * script. board.h has what differs. */
#include "port.h"

#include "linked_image.h"
#include "no_frames.h"
#include "no_reboot.h"
#include "ring.h"

#include "board.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "mps2"
#endif

#define UART_DATA(uart) REG(uart + 0x0)
#define UART_STATE(uart) REG(uart + 0x4)
#define UART_CTRL(uart) REG(uart + 0x8)
#define UART_INTCLEAR(uart) REG(uart + 0xc)
#define UART_BAUDDIV(uart) REG(uart + 0x10)
#define UART_STATE_TXFULL 1u
#define UART_STATE_RXFULL 2u
#define UART_STATE_RX_OVERRUN 8u
#define UART_CTRL_TX 1u
#define UART_CTRL_TX_RX 3u
#define UART_CTRL_INTERRUPTS 0xcu
#define UART_CTRL_RX_INTERRUPT 8u
#define UART_INT_TX_RX 3u
#define UART_INT_RX 2u
#define UART_CLOCK 25000000u
#define UART_LEAST_DIVIDER 16u

/* All interrupts that are used are in one register of 32. */
#define WAKING_IRQS (IRQ_BIT(UART0_RX_IRQ) | IRQ_BIT(UART0_TX_IRQ) | IRQ_BIT(TIMER_IRQ))

#ifndef SP_CAMERA_RING_BYTES
#define SP_CAMERA_RING_BYTES 16384u /* a power of two */
#endif
#define CAMERA_BAUD 1000000u

static int write_blocked;
static int camera_holds;
static port_ring_t camera;
static volatile uint8_t camera_bytes[SP_CAMERA_RING_BYTES];

void camera_received(void);

extern uint8_t link_memory_start[], link_memory_end[], link_ram_source_start[],
    link_ram_source_end[]; /* linker script */

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    timer_start();

    UART_BAUDDIV(UART0) = UART_LEAST_DIVIDER;
    UART_CTRL(UART0) = UART_CTRL_TX_RX | UART_CTRL_INTERRUPTS;
    (void)UART_DATA(UART0); /* else a byte sent before now can keep the receiver full */
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_INSTRUCTIONS};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    size_t n = 0;
    while (n < capacity && (UART_STATE(UART0) & UART_STATE_RXFULL) != 0)
        out[n++] = (uint8_t)UART_DATA(UART0);
    return n;
}

size_t port_write(const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (UART_STATE(UART0) & UART_STATE_TXFULL) == 0)
        UART_DATA(UART0) = data[done++];
    write_blocked = done < n;
    return done;
}

uint64_t port_counter(void)
{
    return timer_instructions();
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    *size = kind == PORT_MEMORY_BULK ? (size_t)(link_memory_end - link_memory_start) : 0;
    return link_memory_start;
}

/* ---- camera port -------------------------------------------------------------------------------------------- */

static void mask_camera(void)
{
    NVIC_ICER(UART0_RX_IRQ) = IRQ_BIT(UART1_RX_IRQ);
    __asm volatile("dsb\n\tisb" ::: "memory");
}

static void unmask_camera(void)
{
    NVIC_ISER(UART0_RX_IRQ) = IRQ_BIT(UART1_RX_IRQ);
}

/* The receive interrupt of UART1. A camera that is held waits: its byte stays where it is. */
void camera_received(void)
{
    UART_INTCLEAR(UART1) = UART_INT_RX;
    while ((UART_STATE(UART1) & UART_STATE_RXFULL) != 0) {
        if (camera_holds && port_ring_is_full(&camera)) {
            mask_camera();
            return;
        }
        port_ring_put(&camera, (uint8_t)UART_DATA(UART1));
    }
    if ((UART_STATE(UART1) & UART_STATE_RX_OVERRUN) != 0) {
        UART_STATE(UART1) = UART_STATE_RX_OVERRUN;
        port_ring_overrun(&camera);
    }
}

static uint32_t camera_divider(uint32_t baud)
{
    const uint32_t rate = baud > 0 ? baud : CAMERA_BAUD;
    return (UART_CLOCK + rate / 2u) / rate;
}

int port_camera_can(uint32_t baud)
{
    const uint32_t divider = camera_divider(baud);
    const uint32_t made = baud > 0 ? divider * baud : UART_CLOCK;
    return divider >= UART_LEAST_DIVIDER &&
           (made > UART_CLOCK ? made - UART_CLOCK : UART_CLOCK - made) <= UART_CLOCK / 50u;
}

void port_camera_open(uint32_t baud, int hold)
{
    port_camera_close();
    UART_BAUDDIV(UART1) = camera_divider(baud);
    UART_CTRL(UART1) = UART_CTRL_TX_RX | UART_CTRL_RX_INTERRUPT;
    (void)UART_DATA(UART1); /* as in port_init */
    camera_holds = hold;
    port_ring_init(&camera, camera_bytes, sizeof camera_bytes);
    unmask_camera();
}

void port_camera_close(void)
{
    mask_camera();
    UART_CTRL(UART1) = UART_CTRL_TX;
}

size_t port_camera_read(uint8_t *out, size_t capacity)
{
    size_t n = port_ring_take(&camera, out, capacity);
    if (camera_holds && n > 0) {
        mask_camera();
        camera_received(); /* what was held, and whose interrupt is gone */
        if (!port_ring_is_full(&camera))
            unmask_camera();
    }
    return n;
}

uint32_t port_camera_lost(void)
{
    mask_camera();
    uint32_t lost = port_ring_lost(&camera);
    if ((UART_CTRL(UART1) & UART_CTRL_RX_INTERRUPT) != 0)
        unmask_camera();
    return lost;
}

uint8_t port_camera_level(void)
{
    return port_ring_level(&camera);
}

size_t port_camera_write(const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (UART_STATE(UART1) & UART_STATE_TXFULL) == 0)
        UART_DATA(UART1) = data[done++];
    return done;
}

/* Length of the bytes, little-endian u32, then they: whoever loads them writes both. */
__attribute__((weak)) const uint8_t *port_ram_source(size_t *n)
{
    const uint32_t length = *(const uint32_t *)(const void *)link_ram_source_start;
    const size_t room = (size_t)(link_ram_source_end - link_ram_source_start) - sizeof length;
    *n = length <= room ? length : 0;
    return *n > 0 ? link_ram_source_start + sizeof length : NULL;
}

/* The link's interrupts and the timer's have no handlers: they are enabled only here, where all are masked and
 * still end a WFI. What comes after the flags were cleared ends it, even between the last look and the WFI. */
void port_idle(void)
{
    port_counter();
    __asm volatile("cpsid i" ::: "memory");
    timer_clear();
    UART_INTCLEAR(UART0) = UART_INT_TX_RX;
    NVIC_ICPR(UART0_RX_IRQ) = WAKING_IRQS;
    NVIC_ISER(UART0_RX_IRQ) = WAKING_IRQS;
    uint32_t state = UART_STATE(UART0);
    int can_read = !write_blocked && (state & UART_STATE_RXFULL) != 0;
    int can_write = write_blocked && (state & UART_STATE_TXFULL) == 0;
    if (!can_read && !can_write && !port_ring_is_news(&camera))
        __asm volatile("dsb\n\twfi" ::: "memory");
    NVIC_ICER(UART0_RX_IRQ) = WAKING_IRQS;
    NVIC_ICPR(UART0_RX_IRQ) = WAKING_IRQS;
    __asm volatile("dsb\n\tisb\n\tcpsie i" ::: "memory");
}
