/* Pins of a chip's ports. */
#ifndef SP_STM32_GPIO_H_INCLUDED
#define SP_STM32_GPIO_H_INCLUDED

#include "board.h"

typedef struct pin {
    uint32_t port; /* GPIOA, ... */
    uint8_t number;
    uint8_t alternate; /* the function's number, of a pin that has one */
} pin_t;

/* Give the pin to its alternate function; it is fast and pulled up, so that an open line is quiet. */
static inline void gpio_connect(pin_t pin)
{
    const uint32_t port = pin.port, at = pin.number;
    GPIO_AFR(port, at) = (GPIO_AFR(port, at) & ~(0xfu << 4 * (at % 8))) | (uint32_t)pin.alternate << 4 * (at % 8);
    GPIO_OSPEEDR(port) |= 3u << 2 * at;
    GPIO_PUPDR(port) = (GPIO_PUPDR(port) & ~(3u << 2 * at)) | 1u << 2 * at;
    GPIO_MODER(port) = (GPIO_MODER(port) & ~(3u << 2 * at)) | 2u << 2 * at;
}

/* The same, for a line that others pull low, too. */
static inline void gpio_connect_open_drain(pin_t pin)
{
    GPIO_OTYPER(pin.port) |= 1u << pin.number;
    gpio_connect(pin);
}

static inline void gpio_make_output(pin_t pin)
{
    GPIO_MODER(pin.port) = (GPIO_MODER(pin.port) & ~(3u << 2 * pin.number)) | 1u << 2 * pin.number;
}

static inline void gpio_set(pin_t pin, int high)
{
    GPIO_BSRR(pin.port) = high ? 1u << pin.number : 1u << (pin.number + 16u);
}

#endif
