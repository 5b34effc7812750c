/* A USART whose ring is filled by its receive interrupt, or by a DMA that goes round in it. */
#ifndef SP_STM32_USART_H_INCLUDED
#define SP_STM32_USART_H_INCLUDED

#include "board.h"
#include "dma.h"
#include "ring.h"

#include <stddef.h>

typedef struct usart {
    uint32_t at; /* USART2, ... */
    uint32_t irq;
    port_ring_t ring;
    int holds; /* by interrupts: a full ring makes the line wait, where it can; else bytes are dropped and counted */
    const dma_t *dma; /* NULL: by interrupts */
} usart_t;

/* Whether the rate can be made, to 2 %. */
int usart_can(uint32_t at, uint32_t baud);

/* Set the rate, and receive into the ring, which is empty. The interrupt stays masked. */
void usart_open(const usart_t *usart, uint32_t baud);

/* Receive no more, and mask the interrupt. */
void usart_close(const usart_t *usart);
int usart_is_open(const usart_t *usart);

void usart_mask(const usart_t *usart);
void usart_unmask(const usart_t *usart);

/* For the interrupts. Without a DMA: stops with a byte in the receiver when the line is to wait; the interrupt is then masked until
 * usart_unmask. */
void usart_receive(usart_t *usart);

/* For the main loop: bytes that have arrived; returns how many. None where some were lost, until port_ring_lost has been
 * called, with usart_mask. */
size_t usart_read(usart_t *usart, uint8_t *out, size_t capacity);

/* Wait until what was written is on the line, for as long as that can take. */
void usart_drain(uint32_t at);

/* Returns how many bytes were taken. */
size_t usart_write(const usart_t *usart, const uint8_t *data, size_t n);

#endif
