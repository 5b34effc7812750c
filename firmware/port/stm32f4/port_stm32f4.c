/* STM32F405 (Netduino Plus 2 and its like), on silicon and in QEMU, by the same image.
 * Link: USART2, PA2 out and PA3 in. Camera port: USART6, PC6 out and PC7 in, both by receive interrupts; PB12 low says
 * to a camera with flow control that it may send. Clock: 168 MHz from a 25 MHz crystal, from the internal oscillator
 * without one. Counter: cycles, of the DWT; where that does not count, it is QEMU's that has none, and timer 2, which
 * runs there at 1 GHz, is read instead: instructions, exactly, under `-icount shift=0`. */
#include "port.h"
#include "ring.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "stm32f4"
#endif
#ifndef SP_LINK_BAUD
#define SP_LINK_BAUD 115200u
#endif
#define CAMERA_BAUD 4000000u
#define LINK_RING_BYTES 512u
#ifndef SP_CAMERA_RING_BYTES
#define SP_CAMERA_RING_BYTES 4096u /* 10 ms at 4 Mbaud; a power of two */
#endif
#define CAMERA_STOPS_AT 32u /* bytes free: what a camera may still send after it was told to stop */

#define REG(address) (*(volatile uint32_t *)(address))

#define RCC 0x40023800u
#define RCC_CR REG(RCC + 0x00)
#define RCC_CR_HSEON (1u << 16)
#define RCC_CR_HSERDY (1u << 17)
#define RCC_CR_PLLON (1u << 24)
#define RCC_CR_PLLRDY (1u << 25)
#define RCC_PLLCFGR REG(RCC + 0x04)
#define RCC_PLLCFGR_HSE (1u << 22)
#define RCC_CFGR REG(RCC + 0x08)
#define RCC_CFGR_SW_PLL 2u
#define RCC_CFGR_SWS (3u << 2)
#define RCC_CFGR_SWS_PLL (2u << 2)
#define RCC_CFGR_PPRE1_4 (5u << 10)
#define RCC_CFGR_PPRE2_2 (4u << 13)
#define RCC_AHB1ENR REG(RCC + 0x30)
#define RCC_AHB1ENR_GPIOABC 7u
#define RCC_APB1ENR REG(RCC + 0x40)
#define RCC_APB1ENR_TIM2 (1u << 0)
#define RCC_APB1ENR_USART2 (1u << 17)
#define RCC_APB2ENR REG(RCC + 0x44)
#define RCC_APB2ENR_USART6 (1u << 5)
#define CLOCK_POLLS 100000u /* a crystal starts within some milliseconds; a flag that never comes must not stop us */

#define FLASH_ACR REG(0x40023c00u)
#define FLASH_ACR_5_WAITS_CACHED (5u | 1u << 8 | 1u << 9 | 1u << 10)

#define GPIOA 0x40020000u
#define GPIOB 0x40020400u
#define GPIOC 0x40020800u
#define GPIO_MODER(port) REG(port + 0x00)
#define GPIO_OSPEEDR(port) REG(port + 0x08)
#define GPIO_PUPDR(port) REG(port + 0x0c)
#define GPIO_BSRR(port) REG(port + 0x18)
#define GPIO_AFR(port, pin) REG(port + 0x20 + 4 * ((pin) / 8))
#define CAMERA_STOP_PIN 12u

#define USART2 0x40004400u
#define USART6 0x40011400u
#define USART_SR(usart) REG(usart + 0x00)
#define USART_SR_ORE (1u << 3)
#define USART_SR_RXNE (1u << 5)
#define USART_SR_TXE (1u << 7)
#define USART_DR(usart) REG(usart + 0x04)
#define USART_BRR(usart) REG(usart + 0x08)
#define USART_CR1(usart) REG(usart + 0x0c)
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_RXNEIE (1u << 5)
#define USART_CR1_TXEIE (1u << 7)
#define USART_CR1_UE (1u << 13)
#define USART_CR1_OVER8 (1u << 15)
#define USART2_IRQ 38u /* in startup.c, too */
#define USART6_IRQ 71u

#define TIM2_CR1 REG(0x40000000u)
#define TIM2_CNT REG(0x40000024u)
#define TIM2_ARR REG(0x4000002cu)

#define SYSTICK_CTRL REG(0xe000e010u)
#define SYSTICK_LOAD REG(0xe000e014u)
#define SYSTICK_CTRL_CORE_CLOCK_INTERRUPT_ON 7u
#define NVIC_ISER(irq) REG(0xe000e100u + 4 * ((irq) / 32))
#define NVIC_ICER(irq) REG(0xe000e180u + 4 * ((irq) / 32))
#define DEMCR REG(0xe000edfcu)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL REG(0xe0001000u)
#define DWT_CYCCNT REG(0xe0001004u)

/* One receiver. holds: a full ring makes the line wait, where it can; else the bytes are dropped and counted. */
typedef struct line {
    uint32_t usart;
    uint32_t irq;
    port_ring_t ring;
    int holds;
} line_t;

static volatile uint8_t link_bytes[LINK_RING_BYTES];
static volatile uint8_t camera_bytes[SP_CAMERA_RING_BYTES];
static line_t link_line = {.usart = USART2, .irq = USART2_IRQ, .holds = 1};
static line_t camera_line = {.usart = USART6, .irq = USART6_IRQ};
static int write_blocked;
static int has_cycles; /* silicon */
static uint32_t apb1_clock = 16000000u, apb2_clock = 16000000u;

extern uint8_t link_memory_start[], link_memory_end[]; /* linker script */

void port_tick(void);
void port_link_received(void);
void port_camera_received(void);

/* ---- set-up --------------------------------------------------------------------------------------------------- */

static int wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < CLOCK_POLLS; i++)
        if ((*reg & mask) == value)
            return 1;
    return 0;
}

/* 168 MHz, or the 16 MHz that the chip starts with if the PLL does not lock. */
static void start_clock(void)
{
    const int emulated = !has_cycles; /* the flags never come, and to QEMU's UARTs all rates are one */
    RCC_CR |= RCC_CR_HSEON;
    const int crystal = !emulated && wait_for(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY);
    const uint32_t to_1_mhz = crystal ? 25u | RCC_PLLCFGR_HSE : 16u;
    RCC_PLLCFGR = to_1_mhz | 336u << 6 | 0u << 16 | 7u << 24; /* x 336 / 2 */
    RCC_CR |= RCC_CR_PLLON;
    if (!emulated && !wait_for(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY))
        return;
    FLASH_ACR = FLASH_ACR_5_WAITS_CACHED;
    RCC_CFGR = RCC_CFGR_PPRE1_4 | RCC_CFGR_PPRE2_2;
    RCC_CFGR = RCC_CFGR_PPRE1_4 | RCC_CFGR_PPRE2_2 | RCC_CFGR_SW_PLL;
    if (emulated || wait_for(&RCC_CFGR, RCC_CFGR_SWS, RCC_CFGR_SWS_PLL)) {
        apb1_clock = 42000000u;
        apb2_clock = 84000000u;
    } else {
        RCC_CFGR = 0;
    }
}

/* alternate: the function's number; the pin is fast and pulled up, so that an open line is quiet. */
static void connect_pin(uint32_t port, uint32_t pin, uint32_t alternate)
{
    GPIO_AFR(port, pin) = (GPIO_AFR(port, pin) & ~(0xfu << 4 * (pin % 8))) | alternate << 4 * (pin % 8);
    GPIO_OSPEEDR(port) |= 3u << 2 * pin;
    GPIO_PUPDR(port) = (GPIO_PUPDR(port) & ~(3u << 2 * pin)) | 1u << 2 * pin;
    GPIO_MODER(port) = (GPIO_MODER(port) & ~(3u << 2 * pin)) | 2u << 2 * pin;
}

static void set_rate(uint32_t usart, uint32_t clock, uint32_t baud, uint32_t flags)
{
    const uint32_t divider = (clock + baud / 2u) / baud;
    const int eight = divider < 16u; /* samples a bit */
    USART_CR1(usart) = 0;
    USART_BRR(usart) = eight ? (divider >> 3) << 4 | (divider & 7u) : divider;
    USART_CR1(usart) = USART_CR1_UE | USART_CR1_TE | (eight ? USART_CR1_OVER8 : 0) | flags;
}

static void start_counter(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u;
    __asm volatile("nop\n\tnop\n\tnop\n\tnop");
    has_cycles = DWT_CYCCNT != 0;
    RCC_APB1ENR |= RCC_APB1ENR_TIM2;
    TIM2_ARR = UINT32_MAX;
    TIM2_CR1 = has_cycles ? 0 : 1u;
    SYSTICK_LOAD = 0xffffffu; /* 100 ms: often enough for either counter to be extended */
    SYSTICK_CTRL = SYSTICK_CTRL_CORE_CLOCK_INTERRUPT_ON;
}

static void mask(const line_t *line)
{
    NVIC_ICER(line->irq) = 1u << line->irq % 32u;
    __asm volatile("dsb\n\tisb" ::: "memory");
}

static void unmask(const line_t *line)
{
    NVIC_ISER(line->irq) = 1u << line->irq % 32u;
}

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    start_counter();
    start_clock();
    RCC_AHB1ENR |= RCC_AHB1ENR_GPIOABC;
    RCC_APB1ENR |= RCC_APB1ENR_USART2;
    RCC_APB2ENR |= RCC_APB2ENR_USART6;
    (void)RCC_APB2ENR; /* the clocks are there a little later */
    connect_pin(GPIOA, 2, 7);
    connect_pin(GPIOA, 3, 7);
    connect_pin(GPIOC, 6, 8);
    connect_pin(GPIOC, 7, 8);
    GPIO_MODER(GPIOB) = (GPIO_MODER(GPIOB) & ~(3u << 2 * CAMERA_STOP_PIN)) | 1u << 2 * CAMERA_STOP_PIN;
    port_ring_init(&link_line.ring, link_bytes, sizeof link_bytes);
    port_ring_init(&camera_line.ring, camera_bytes, sizeof camera_bytes);
    set_rate(USART2, apb1_clock, SP_LINK_BAUD, USART_CR1_RE | USART_CR1_RXNEIE);
    unmask(&link_line);
}

const port_info_t *port_info(void)
{
    static port_info_t info = {SP_BOARD_NAME, PORT_UNIT_CYCLES};
    info.counter_unit = has_cycles ? PORT_UNIT_CYCLES : PORT_UNIT_INSTRUCTIONS;
    return &info;
}

/* ---- interrupts ----------------------------------------------------------------------------------------------- */

void port_tick(void)
{
} /* ends a WFI */

/* Stops with a byte in the receiver when the line is to wait; its interrupt stays masked until there is room. */
static void receive(line_t *line)
{
    for (;;) {
        const uint32_t state = USART_SR(line->usart);
        if ((state & (USART_SR_RXNE | USART_SR_ORE)) == 0)
            return;
        if (line->holds && port_ring_is_full(&line->ring)) {
            mask(line);
            return;
        }
        const uint8_t byte = (uint8_t)USART_DR(line->usart);
        if ((state & USART_SR_RXNE) != 0)
            port_ring_put(&line->ring, byte);
        if ((state & USART_SR_ORE) != 0) /* what came after that byte, and found it still there */
            port_ring_overrun(&line->ring);
    }
}

void port_link_received(void)
{
    if ((USART_SR(USART2) & USART_SR_TXE) != 0)
        USART_CR1(USART2) &= ~USART_CR1_TXEIE; /* has ended the WFI */
    receive(&link_line);
}

static void tell_camera(void)
{
    const uint32_t free = camera_line.ring.size - (camera_line.ring.head - camera_line.ring.tail);
    GPIO_BSRR(GPIOB) =
        camera_line.holds && free < CAMERA_STOPS_AT ? 1u << CAMERA_STOP_PIN : 1u << (CAMERA_STOP_PIN + 16u);
}

void port_camera_received(void)
{
    receive(&camera_line);
    tell_camera();
}

/* ---- link ----------------------------------------------------------------------------------------------------- */

size_t port_read(uint8_t *out, size_t capacity)
{
    mask(&link_line);
    port_ring_lost(&link_line.ring); /* nobody asks: the frame's CRC tells */
    const size_t n = port_ring_take(&link_line.ring, out, capacity);
    unmask(&link_line);
    return n;
}

size_t port_write(const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (USART_SR(USART2) & USART_SR_TXE) != 0)
        USART_DR(USART2) = data[done++];
    write_blocked = done < n;
    return done;
}

/* ---- camera port ---------------------------------------------------------------------------------------------- */

int port_camera_can(uint32_t baud)
{
    const uint32_t rate = baud > 0 ? baud : CAMERA_BAUD;
    const uint32_t divider = (apb2_clock + rate / 2u) / rate;
    const uint32_t made = divider * rate;
    return divider >= 8u && divider <= 0xffffu &&
           (made > apb2_clock ? made - apb2_clock : apb2_clock - made) <= apb2_clock / 50u;
}

void port_camera_open(uint32_t baud, int hold)
{
    port_camera_close();
    set_rate(USART6, apb2_clock, baud > 0 ? baud : CAMERA_BAUD, USART_CR1_RE | USART_CR1_RXNEIE);
    (void)USART_DR(USART6);
    camera_line.holds = hold;
    port_ring_init(&camera_line.ring, camera_bytes, sizeof camera_bytes);
    tell_camera();
    unmask(&camera_line);
}

void port_camera_close(void)
{
    mask(&camera_line);
    USART_CR1(USART6) &= ~(USART_CR1_RE | USART_CR1_RXNEIE);
}

static int camera_is_open(void)
{
    return (USART_CR1(USART6) & USART_CR1_RE) != 0;
}

size_t port_camera_read(uint8_t *out, size_t capacity)
{
    const size_t n = port_ring_take(&camera_line.ring, out, capacity);
    if (camera_is_open()) {
        mask(&camera_line);
        tell_camera();
        unmask(&camera_line);
    }
    return n;
}

uint32_t port_camera_lost(void)
{
    mask(&camera_line);
    const uint32_t lost = port_ring_lost(&camera_line.ring);
    if (camera_is_open())
        unmask(&camera_line);
    return lost;
}

uint8_t port_camera_level(void)
{
    return port_ring_level(&camera_line.ring);
}

size_t port_camera_write(const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (USART_SR(USART6) & USART_SR_TXE) != 0)
        USART_DR(USART6) = data[done++];
    return done;
}

__attribute__((weak)) const uint8_t *port_ram_source(size_t *n)
{
    *n = 0;
    return NULL; /* no RAM to spare */
}

/* ---- the rest ------------------------------------------------------------------------------------------------- */

/* 32 bits wrap after 4 s in QEMU, after 25 s on silicon; port_idle asks at least every 100 ms. */
uint64_t port_counter(void)
{
    static uint32_t last;
    static uint64_t base;
    const uint32_t now = has_cycles ? DWT_CYCCNT : TIM2_CNT;
    if (now < last)
        base += (uint64_t)1 << 32;
    last = now;
    return base + now;
}

void *port_memory(size_t *size)
{
    *size = (size_t)(link_memory_end - link_memory_start);
    return link_memory_start;
}

/* With all interrupts masked a pending one still ends the WFI, and is taken after it: nothing falls between. */
void port_idle(void)
{
    port_counter();
    __asm volatile("cpsid i" ::: "memory");
    if (write_blocked)
        USART_CR1(USART2) |= USART_CR1_TXEIE;
    const int link_news = port_ring_is_news(&link_line.ring);
    const int camera_news = port_ring_is_news(&camera_line.ring);
    if (!link_news && !camera_news)
        __asm volatile("dsb\n\twfi" ::: "memory");
    __asm volatile("cpsie i" ::: "memory");
}
