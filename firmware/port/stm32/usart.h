/* A USART with a receive interrupt that fills a ring. */
#ifndef SP_STM32_USART_H_INCLUDED
#define SP_STM32_USART_H_INCLUDED

#include "board.h"
#include "ring.h"

#include <stddef.h>

typedef struct usart {
    uint32_t at; /* USART2, ... */
    uint32_t irq;
    port_ring_t ring;
    int holds; /* a full ring makes the line wait, where it can; else bytes are dropped and counted */
} usart_t;

/* Whether the rate can be made, to 2 %. */
int usart_can(uint32_t at, uint32_t baud);

/* Set the rate, and receive. The interrupt stays masked. */
void usart_open(const usart_t *usart, uint32_t baud);

/* Receive no more, and mask the interrupt. */
void usart_close(const usart_t *usart);
int usart_is_open(const usart_t *usart);

void usart_mask(const usart_t *usart);
void usart_unmask(const usart_t *usart);

/* For the interrupt. Stops with a byte in the receiver when the line is to wait; the interrupt is then masked until
 * usart_unmask. */
void usart_receive(usart_t *usart);

/* Wait until what was written is on the line, for as long as that can take. */
void usart_drain(uint32_t at);

/* Returns how many bytes were taken. */
size_t usart_write(const usart_t *usart, const uint8_t *data, size_t n);

#endif
