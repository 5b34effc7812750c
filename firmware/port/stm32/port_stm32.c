/* Boards with an STM32, on silicon and in QEMU by the same image: board.h says which USARTs and pins the link and the
 * camera port are, each received by an interrupt or a DMA, and how fast the crystal is. BOARD_CAMERA_STOP low says to a camera
 * with flow control that it may send. */
#include "port.h"

#include "board.h"
#include "caches.h"
#include "clock.h"
#include "counter.h"
#include "end.h"
#include "frames.h"
#include "gpio.h"
#include "mpu.h"
#include "reboot.h"
#include "second_link.h"
#include "usart.h"

#ifndef SP_LINK_BAUD
#define SP_LINK_BAUD 115200u
#endif
#define CAMERA_BAUD 4000000u
#if defined(BOARD_LINK_DMA)
#define LINK_RING_BYTES 16384u /* whatever a host may send ahead: SP_APP_CREDITS frames */
#define IN_DMA_MEMORY __attribute__((section(".dma")))
#else
#define LINK_RING_BYTES 512u
#define IN_DMA_MEMORY
#endif
#ifndef SP_CAMERA_RING_BYTES
#define SP_CAMERA_RING_BYTES 4096u /* 10 ms at 4 Mbaud; a power of two */
#endif
#define CAMERA_STOPS_AT 32u /* bytes free: what a camera may still send after it was told to stop */

static volatile uint8_t link_bytes[LINK_RING_BYTES] IN_DMA_MEMORY;
static volatile uint8_t camera_bytes[SP_CAMERA_RING_BYTES] IN_DMA_MEMORY;
static usart_t link_line = {.at = BOARD_LINK_USART, .irq = BOARD_LINK_IRQ, .holds = 1};
static usart_t camera_line = {.at = BOARD_CAMERA_USART, .irq = BOARD_CAMERA_IRQ};
static const pin_t camera_stop = BOARD_CAMERA_STOP;
#if defined(BOARD_LINK_DMA)
static const dma_t link_dma = BOARD_LINK_DMA, camera_dma = BOARD_CAMERA_DMA;
#endif
static int write_blocked;

extern uint8_t link_memory_start[], link_memory_end[], link_fast_start[], link_fast_end[], link_dma_start[],
    link_dma_end[], link_vectors_start[]; /* linker script */

void port_link_received(void);
void port_camera_received(void);

static void connect_lines(void)
{
    static const pin_t lines[] = {BOARD_LINES};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        clock_enable(lines[i].port);
        gpio_connect(lines[i]);
    }
}

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    reboot_as_wished();
    end_recall();
    SCB_VTOR = (uint32_t)link_vectors_start; /* a bootloader may have left its own */
    mpu_enable();
    caches_enable();
    counter_start();
    clock_start();
    watchdog_start();
#if defined(CHIP_DMA_CLOCKS)
    static const clock_gate_t gates[] = {CHIP_DMA_CLOCKS};
    for (size_t i = 0; i < sizeof gates / sizeof *gates; i++)
        clock_open(gates[i]);
#endif
    clock_enable(BOARD_LINK_USART);
    clock_enable(BOARD_CAMERA_USART);
    connect_lines();
    clock_enable(camera_stop.port);
    gpio_make_output(camera_stop);
    port_ring_init(&link_line.ring, link_bytes, sizeof link_bytes);
    port_ring_init(&camera_line.ring, camera_bytes, sizeof camera_bytes);
#if defined(BOARD_LINK_DMA)
    link_line.dma = &link_dma;
    camera_line.dma = &camera_dma;
#endif
    frames_start();
    usart_open(&link_line, SP_LINK_BAUD);
    usart_unmask(&link_line);
    second_link_start();
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    static uint8_t *const blocks[][2] = {[PORT_MEMORY_FAST] = {link_fast_start, link_fast_end},
                                         [PORT_MEMORY_BULK] = {link_memory_start, link_memory_end},
                                         [PORT_MEMORY_DMA] = {link_dma_start, link_dma_end}};
    *size = (size_t)(blocks[kind][1] - blocks[kind][0]);
    return blocks[kind][0];
}

/* With all interrupts masked a pending one still ends the WFI, and is taken after it: nothing falls between. */
void port_idle(void)
{
    port_counter();
    __asm volatile("cpsid i" ::: "memory");
    if (write_blocked)
        USART_CR1(BOARD_LINK_USART) |= USART_CR1_TXEIE;
    const int link_news = port_ring_is_news(&link_line.ring);
    const int camera_news = port_ring_is_news(&camera_line.ring);
    if (!link_news && !camera_news && !frames_is_news() && !second_link_is_news())
        __asm volatile("dsb\n\twfi" ::: "memory");
    __asm volatile("cpsie i" ::: "memory");
}

/* ---- link ----------------------------------------------------------------------------------------------------- */

void port_link_received(void)
{
    if ((USART_SR(BOARD_LINK_USART) & USART_SR_TXE) != 0)
        USART_CR1(BOARD_LINK_USART) &= ~USART_CR1_TXEIE; /* has ended the WFI */
    usart_receive(&link_line);
}

static size_t read_line(uint8_t *out, size_t capacity)
{
    usart_mask(&link_line);
    port_ring_lost(&link_line.ring); /* nobody asks: the frame's CRC tells */
    return usart_read(&link_line, out, capacity);
}

static size_t write_line(const uint8_t *data, size_t n)
{
    const size_t done = usart_write(&link_line, data, n);
    write_blocked = done < n;
    return done;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    watchdog_feed();
    return second_link_read(read_line, write_line, out, capacity);
}

size_t port_write(const uint8_t *data, size_t n)
{
    watchdog_feed();
    return second_link_write(write_line, data, n);
}

/* ---- camera port ---------------------------------------------------------------------------------------------- */

static void tell_camera(void)
{
    const uint32_t size = camera_line.ring.size, waiting = camera_line.ring.head - camera_line.ring.tail;
    const uint32_t unseen = camera_line.dma != NULL ? size / 2u : 0; /* what may come before the next interrupt */
    gpio_set(camera_stop, camera_line.holds && waiting + unseen + CAMERA_STOPS_AT > size);
}

void port_camera_received(void)
{
    usart_receive(&camera_line);
    tell_camera();
}

static uint32_t rate_of(uint32_t baud)
{
    return baud > 0 ? baud : CAMERA_BAUD;
}

int port_camera_can(uint32_t baud)
{
    return usart_can(BOARD_CAMERA_USART, rate_of(baud));
}

void port_camera_open(uint32_t baud, int hold)
{
    port_camera_close();
    connect_lines(); /* the frame port may have had their pins */
    (void)USART_RDR(BOARD_CAMERA_USART);
    camera_line.holds = hold;
    port_ring_init(&camera_line.ring, camera_bytes, sizeof camera_bytes);
    usart_open(&camera_line, rate_of(baud));
    tell_camera();
    usart_unmask(&camera_line);
}

void port_camera_close(void)
{
    usart_close(&camera_line);
}

size_t port_camera_read(uint8_t *out, size_t capacity)
{
    const size_t n = usart_read(&camera_line, out, capacity);
    if (usart_is_open(&camera_line)) {
        usart_mask(&camera_line);
        tell_camera();
        usart_unmask(&camera_line);
    }
    return n;
}

uint32_t port_camera_lost(void)
{
    usart_mask(&camera_line);
    const uint32_t lost = port_ring_lost(&camera_line.ring);
    if (usart_is_open(&camera_line))
        usart_unmask(&camera_line);
    return lost;
}

uint8_t port_camera_level(void)
{
    return port_ring_level(&camera_line.ring);
}

size_t port_camera_write(const uint8_t *data, size_t n)
{
    return usart_write(&camera_line, data, n);
}

__attribute__((weak)) const uint8_t *port_ram_source(size_t *n)
{
    *n = 0;
    return NULL; /* no RAM to spare */
}
