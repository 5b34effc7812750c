#include "frames.h"

#include "port.h"

#if !defined(BOARD_FRAMES_PINS)

#include "no_frames.h"

void frames_start(void)
{
}

int frames_is_news(void)
{
    return 0;
}

#else

#include "clock.h"
#include "dma.h"
#include "genx320.h"
#include "gpio.h"
#include "i2c.h"
#include "packets.h"

#define FRAME_WORDS (GENX320_FRAME_PACKETS * PACKET_WORDS)
#define DRAIN_POLLS 1000u

static const dma_t dma = {DMA2, BOARD_FRAMES_DMA_STREAM, BOARD_FRAMES_DMA_REQUEST, BOARD_FRAMES_DMA_IRQ};
static const pin_t pins[] = {BOARD_FRAMES_PINS};
static packets_t packets;
static struct {
    uint8_t is_open, is_capturing;
    uint8_t filling[2]; /* packets, by the DMA's buffers */
    uint32_t buffer;    /* that is being filled */
    uint32_t words;     /* of buffers that are full, since it was opened */
    uint32_t began;     /* of these, when the frame began */
} receiver;

void frames_start(void)
{
    static const pin_t bus[] = {BOARD_FRAMES_I2C_PINS};
    for (size_t i = 0; i < sizeof bus / sizeof *bus; i++) {
        clock_enable(bus[i].port);
        gpio_connect_open_drain(bus[i]);
    }
#ifdef BOARD_FRAMES_POWER_OFF
    const pin_t power_off = BOARD_FRAMES_POWER_OFF;
    clock_enable(power_off.port);
    gpio_set(power_off, 0);
    gpio_make_output(power_off);
#endif
    i2c_start(BOARD_FRAMES_I2C);
}

static void mask(void)
{
    NVIC_ICER(dma.irq) = IRQ_BIT(dma.irq);
    NVIC_ICER(DCMI_IRQ) = IRQ_BIT(DCMI_IRQ);
    __asm volatile("dsb\n\tisb" ::: "memory");
}

static void unmask(void)
{
    NVIC_ISER(dma.irq) = IRQ_BIT(dma.irq);
    NVIC_ISER(DCMI_IRQ) = IRQ_BIT(DCMI_IRQ);
}

/* ---- the interrupts -------------------------------------------------------------------------------------------- */

/* Both buffers are there to be filled, the first one next; the receiver waits for a frame to begin. */
static void capture(void)
{
    receiver.buffer = 0;
    dma_start(&dma, DCMI_DR, (uint32_t)packets_memory(&packets, receiver.filling[0]),
              (uint32_t)packets_memory(&packets, receiver.filling[1]), PACKET_WORDS,
              DMA_CR_WORDS | DMA_CR_MEMORY_STEPS | DMA_CR_FIRST_OF_ALL | DMA_CR_TWO_BUFFERS | DMA_CR_CIRCULAR |
                  DMA_CR_FULL_INTERRUPT);
    DCMI_ICR = DCMI_FRAME | DCMI_OVERRUN;
    DCMI_CR = BOARD_FRAMES_BLANKS | DCMI_CR_ON;
    DCMI_CR = BOARD_FRAMES_BLANKS | DCMI_CR_ON | DCMI_CR_CAPTURE;
}

static void put(uint32_t buffer, uint32_t words)
{
    receiver.filling[buffer] = packets_put(&packets, receiver.filling[buffer], words);
}

static void take_full(void)
{
    if ((dma_flags(&dma) & DMA_FLAG_FULL) == 0)
        return;
    const uint32_t full = receiver.buffer, now = dma_buffer(&dma);
    if (now == full) { /* both were filled before this interrupt came: the first one is being overwritten */
        (void)dma_flags(&dma);
        packets_missed(&packets, PACKET_BYTES);
        receiver.words += PACKET_WORDS;
    }
    receiver.words += PACKET_WORDS;
    receiver.buffer = now;
    put(now ^ 1u, PACKET_WORDS);
    dma_set_buffer(&dma, now ^ 1u, (uint32_t)packets_memory(&packets, receiver.filling[now ^ 1u]));
}

void port_frames_filled(void)
{
    take_full();
}

/* What is lacking of the frame that ends here was lost. */
static void end_frame(uint32_t words)
{
    const uint32_t came = words - receiver.began;
    if (came < FRAME_WORDS)
        packets_missed(&packets, 4u * (FRAME_WORDS - came));
    receiver.began = words;
}

/* The receiver's own memory overran. It goes on with the next frame; the rest of this one is lost. */
static void begin_anew(void)
{
    DCMI_CR = BOARD_FRAMES_BLANKS | DCMI_CR_ON;
    DCMI_CR = 0;
    take_full();
    const uint32_t came = PACKET_WORDS - dma_left(&dma);
    dma_stop(&dma);
    put(receiver.buffer, came);
    receiver.words += came;
    end_frame(receiver.words);
    capture();
}

void port_frames_ended(void)
{
    const uint32_t what = DCMI_MIS;
    DCMI_ICR = what;
    if ((what & DCMI_OVERRUN) != 0) {
        begin_anew();
    } else if ((what & DCMI_FRAME) != 0) {
        for (uint32_t i = 0; i < DRAIN_POLLS && (DCMI_SR & DCMI_SR_HOLDS_WORDS) != 0; i++) {
        }
        take_full();
        end_frame(receiver.words + PACKET_WORDS - dma_left(&dma));
    }
}

/* ---- port.h ---------------------------------------------------------------------------------------------------- */

int port_has_frames(void)
{
    size_t bytes;
    port_memory(PORT_MEMORY_DMA, &bytes);
    return bytes >= PACKETS_LEAST * PACKET_BYTES;
}

int port_frames_answers(void)
{
    return genx320_answers(BOARD_FRAMES_I2C);
}

void port_frames_open(void)
{
    size_t bytes;
    void *memory = port_memory(PORT_MEMORY_DMA, &bytes);
    port_frames_close();
    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++) {
        clock_enable(pins[i].port);
        gpio_connect(pins[i]);
    }
    packets_init(&packets, memory, bytes);
    receiver.filling[0] = packets_take_free(&packets);
    receiver.filling[1] = packets_take_free(&packets);
    receiver.words = receiver.began = 0;
    receiver.is_open = 1;
    genx320_begin();
}

void port_frames_close(void)
{
    mask();
    DCMI_IER = 0;
    DCMI_CR = 0;
    dma_stop(&dma);
    receiver.is_open = receiver.is_capturing = 0;
}

/* The receiver is there before the sensor begins, and after it has ended what it sent to an earlier session. */
int port_frames_step(void)
{
    if (!receiver.is_open)
        return 0;
    if (!receiver.is_capturing && genx320_is_set_up()) {
        receiver.is_capturing = 1;
        capture();
        DCMI_IER = DCMI_FRAME | DCMI_OVERRUN;
        unmask();
    }
    return genx320_step(BOARD_FRAMES_I2C);
}

size_t port_frames_read(uint8_t *out, size_t capacity)
{
    return receiver.is_open ? packets_take(&packets, out, capacity) : 0;
}

port_frames_lost_t port_frames_lost(void)
{
    mask();
    packets_lost(&packets);
    if (receiver.is_capturing)
        unmask();
    return (port_frames_lost_t){packets.lost_events, packets.lost_bytes};
}

uint8_t port_frames_level(void)
{
    return packets_level(&packets);
}

int frames_is_news(void)
{
    return packets_is_news(&packets) || (receiver.is_open && !genx320_sends());
}

#endif
