/* The link over the chip's own USB, as a serial port (CDC-ACM) by TinyUSB; for any chip that TinyUSB has a driver of.
 *
 * All of TinyUSB runs in the chip's USB interrupt, so that a host is answered while a model computes; the main loop masks
 * that interrupt for the few moments in which it takes bytes from TinyUSB's FIFOs or gives it some. No byte is lost between
 * an endpoint and the main loop: a packet that has no room is not asked for. */
#ifndef SP_USB_CDC_H_INCLUDED
#define SP_USB_CDC_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#define USB_CDC_ENDPOINT_IN 0x82

/* Once, with the USB's clock on. The serial number is port_unique_id's. */
void usb_cdc_start(void);

/* The chip's USB interrupt calls it. */
void usb_cdc_interrupt(void);

size_t usb_cdc_read(uint8_t *out, size_t capacity);

/* Takes all, and drops it, while no host has the port open (DTR), the cable is out or the host sleeps. */
size_t usb_cdc_write(const uint8_t *data, size_t n);

/* Whether there is a byte to read, or room again after a write that took less. */
int usb_cdc_is_news(void);

/* Whether what was written has left the chip, or nobody wants it. */
int usb_cdc_is_drained(void);

/* Off the bus, as if the cable were out. */
void usb_cdc_leave(void);

#endif
