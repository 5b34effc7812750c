/* An I2C bus, fast mode, on which this chip alone speaks. Every wait is bounded. */
#ifndef SP_STM32_I2C_H_INCLUDED
#define SP_STM32_I2C_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

void i2c_start(uint32_t at);

/* Whether the device with that address (7 bits) took all of it, at most 255 bytes. */
int i2c_write(uint32_t at, uint8_t device, const uint8_t *bytes, size_t n);

/* Say which register, and read from there. */
int i2c_read(uint32_t at, uint8_t device, const uint8_t *which, size_t which_bytes, uint8_t *out, size_t n);

#endif
