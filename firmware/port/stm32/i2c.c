#include "i2c.h"

#include "board.h"

#if defined(BOARD_FRAMES_PINS)

#include "clock.h"

#define POLLS 50000u     /* a byte takes 25 us */
#define TICK_HZ 8000000u /* the times below are in this unit, as the reference manual has them for 400 kHz */
#define HIGH_TICKS 3u
#define LOW_TICKS 9u
#define HOLD_TICKS 1u
#define SET_UP_TICKS 3u

void i2c_start(uint32_t at)
{
    const uint32_t divider = (clock_of(at) + TICK_HZ - 1u) / TICK_HZ;
    clock_enable(at);
    I2C_CR1(at) = 0;
    I2C_TIMINGR(at) = (divider - 1u) << 28 | SET_UP_TICKS << 20 | HOLD_TICKS << 16 | HIGH_TICKS << 8 | LOW_TICKS;
    I2C_CR1(at) = I2C_CR1_ON;
}

/* Returns 0 when the device says no, or nothing. */
static int wait_for(uint32_t at, uint32_t flag)
{
    for (uint32_t i = 0; i < POLLS; i++) {
        const uint32_t state = I2C_ISR(at);
        if ((state & flag) != 0)
            return 1;
        if ((state & I2C_ISR_NACK) != 0)
            return 0;
    }
    return 0;
}

static uint32_t told(uint8_t device, size_t n)
{
    return (uint32_t)device << 1 | (uint32_t)n << 16 | I2C_CR2_START;
}

/* The bus is free again. What went wrong does not reach into the next transfer. */
static int end(uint32_t at, int good)
{
    good = wait_for(at, I2C_ISR_STOP) && good;
    I2C_ICR(at) = I2C_ISR_STOP | I2C_ISR_NACK;
    if (!good) {
        I2C_CR1(at) = 0;
        (void)I2C_CR1(at); /* three of the bus's cycles, in which it forgets */
        (void)I2C_CR1(at);
        I2C_CR1(at) = I2C_CR1_ON;
    }
    return good;
}

static int send(uint32_t at, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!wait_for(at, I2C_ISR_TXIS))
            return 0;
        I2C_TXDR(at) = bytes[i];
    }
    return 1;
}

int i2c_write(uint32_t at, uint8_t device, const uint8_t *bytes, size_t n)
{
    I2C_CR2(at) = told(device, n) | I2C_CR2_STOPS_BY_ITSELF;
    return end(at, send(at, bytes, n));
}

int i2c_read(uint32_t at, uint8_t device, const uint8_t *which, size_t which_bytes, uint8_t *out, size_t n)
{
    I2C_CR2(at) = told(device, which_bytes);
    if (!send(at, which, which_bytes) || !wait_for(at, I2C_ISR_TC))
        return end(at, 0);
    I2C_CR2(at) = told(device, n) | I2C_CR2_READ | I2C_CR2_STOPS_BY_ITSELF;
    int good = 1;
    for (size_t i = 0; i < n && good; i++) {
        good = wait_for(at, I2C_ISR_RXNE);
        if (good)
            out[i] = (uint8_t)I2C_RXDR(at);
    }
    return end(at, good);
}

#endif
