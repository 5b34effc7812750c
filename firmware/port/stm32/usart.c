#include "usart.h"

#include "clock.h"

static uint32_t divider_of(uint32_t at, uint32_t baud)
{
    return (clock_of(at) + baud / 2u) / baud;
}

int usart_can(uint32_t at, uint32_t baud)
{
    const uint32_t clock = clock_of(at), divider = divider_of(at, baud), made = divider * baud;
    return divider >= 8u && divider <= 0xffffu && (made > clock ? made - clock : clock - made) <= clock / 50u;
}

void usart_open(const usart_t *usart, uint32_t baud)
{
    const uint32_t divider = divider_of(usart->at, baud);
    const int eight = divider < 16u; /* samples a bit */
    USART_CR1(usart->at) = 0;
#if defined(BOARD_LINK_DMA)
    USART_CR3(usart->at) = usart->dma != NULL ? USART_CR3_EIE | USART_CR3_DMAR : 0;
    if (usart->dma != NULL)
        dma_start(usart->dma, USART_RDR_AT(usart->at), (uint32_t)usart->ring.bytes, 0, usart->ring.size,
                  DMA_CR_MEMORY_STEPS | DMA_CR_CIRCULAR | DMA_CR_HALF_INTERRUPT | DMA_CR_FULL_INTERRUPT |
                      CHIP_DMA_OF_USART);
    const uint32_t by = usart->dma != NULL ? USART_CR1_IDLEIE : USART_CR1_RXNEIE;
#else
    const uint32_t by = USART_CR1_RXNEIE;
#endif
    USART_BRR(usart->at) = eight ? (divider >> 3) << 4 | (divider & 7u) : divider;
    USART_CR1(usart->at) = USART_CR1_UE | USART_CR1_TE | (eight ? USART_CR1_OVER8 : 0) | USART_CR1_RE | by;
}

void usart_close(const usart_t *usart)
{
    usart_mask(usart);
    USART_CR1(usart->at) &= ~(USART_CR1_RE | USART_CR1_RXNEIE);
#if defined(BOARD_LINK_DMA)
    if (usart->dma != NULL)
        dma_stop(usart->dma);
#endif
}

int usart_is_open(const usart_t *usart)
{
    return (USART_CR1(usart->at) & USART_CR1_RE) != 0;
}

void usart_mask(const usart_t *usart)
{
    NVIC_ICER(usart->irq) = IRQ_BIT(usart->irq);
    if (usart->dma != NULL)
        NVIC_ICER(usart->dma->irq) = IRQ_BIT(usart->dma->irq);
    __asm volatile("dsb\n\tisb" ::: "memory");
}

void usart_unmask(const usart_t *usart)
{
    NVIC_ISER(usart->irq) = IRQ_BIT(usart->irq);
    if (usart->dma != NULL)
        NVIC_ISER(usart->dma->irq) = IRQ_BIT(usart->dma->irq);
}

/* Where the DMA is, and whether a byte came before it had taken the one before. */
static void look(usart_t *usart)
{
#if defined(BOARD_LINK_DMA)
    const uint32_t state = USART_SR(usart->at);
    (void)dma_flags(usart->dma);
    USART_ICR(usart->at) = state & (USART_SR_IDLE | USART_SR_ORE);
    port_ring_moved(&usart->ring, usart->ring.size - dma_left(usart->dma));
    if ((state & USART_SR_ORE) != 0)
        port_ring_overrun(&usart->ring);
#else
    (void)usart;
#endif
}

size_t usart_read(usart_t *usart, uint8_t *out, size_t capacity)
{
    usart_mask(usart);
    if (usart->dma != NULL && usart_is_open(usart))
        look(usart);
    const uint32_t tail = usart->ring.tail;
    size_t n = port_ring_take(&usart->ring, out, capacity);
    if (usart->dma != NULL && usart_is_open(usart)) {
        look(usart);
        if (port_ring_is_over(&usart->ring, tail)) { /* while they were copied */
            usart->ring.tail = tail;
            n = 0;
        }
    }
    if (usart_is_open(usart))
        usart_unmask(usart);
    return n;
}

void usart_receive(usart_t *usart)
{
    if (usart->dma != NULL) {
        look(usart);
        return;
    }
    for (;;) {
        const uint32_t state = USART_SR(usart->at);
        if ((state & (USART_SR_RXNE | USART_SR_ORE)) == 0)
            return;
        if (usart->holds && port_ring_is_full(&usart->ring)) {
            usart_mask(usart);
            return;
        }
        const uint8_t byte = (uint8_t)USART_RDR(usart->at);
        if ((state & USART_SR_RXNE) != 0)
            port_ring_put(&usart->ring, byte);
        if ((state & USART_SR_ORE) != 0) { /* what came after that byte, and found it still there */
            USART_CLEAR_OVERRUN(usart->at);
            port_ring_overrun(&usart->ring);
        }
    }
}

#define DRAIN_POLLS 1000000u /* two bytes at 9,600 baud are 2 ms */

void usart_drain(uint32_t at)
{
    for (uint32_t i = 0; i < DRAIN_POLLS && (USART_SR(at) & USART_SR_TC) == 0; i++) {
    }
}

size_t usart_write(const usart_t *usart, const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && (USART_SR(usart->at) & USART_SR_TXE) != 0)
        USART_TDR(usart->at) = data[done++];
    return done;
}
