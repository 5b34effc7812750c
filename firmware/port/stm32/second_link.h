/* A second link beside the USART: the chip's own USB, of boards whose manifest names TinyUSB among its parts
 * (../usb_stm32/). The link is where the last host came from that said HELLO. */
#ifndef SP_STM32_SECOND_LINK_H_INCLUDED
#define SP_STM32_SECOND_LINK_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

typedef size_t (*link_read_t)(uint8_t *out, size_t capacity);
typedef size_t (*link_write_t)(const uint8_t *data, size_t n);

#if defined(SP_USB_VENDOR)
#include "usb_cdc.h"

#define SECOND_LINK_VECTORS , [OTG_FS_IRQ] = usb_cdc_interrupt

/* Clocks, pins and the controller, once the PLL runs. */
void second_link_start(void);

/* The same as those of port.h, of the link that is in use. read, write: the USART's. */
size_t second_link_read(link_read_t read, link_write_t write, uint8_t *out, size_t capacity);
size_t second_link_write(link_write_t write, const uint8_t *data, size_t n);

/* For port_idle. */
int second_link_is_news(void);

/* Before the chip starts anew: wait until what was written is out, for as long as that can take; off the bus. */
void second_link_leave(void);

#else
#define SECOND_LINK_VECTORS

static inline void second_link_start(void)
{
}

static inline size_t second_link_read(link_read_t read, link_write_t write, uint8_t *out, size_t capacity)
{
    (void)write;
    return read(out, capacity);
}

static inline size_t second_link_write(link_write_t write, const uint8_t *data, size_t n)
{
    return write(data, n);
}

static inline int second_link_is_news(void)
{
    return 0;
}

static inline void second_link_leave(void)
{
}

#endif
#endif
