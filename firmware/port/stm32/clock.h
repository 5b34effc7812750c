/* Clocks of a chip; a file clock_<family>.c for each family of chips. */
#ifndef SP_STM32_CLOCK_H_INCLUDED
#define SP_STM32_CLOCK_H_INCLUDED

#include <stdint.h>

/* The fastest that the chip and the board's crystal give; what it began with if that does not come to be. Waits for each
 * flag, and never for ever. */
void clock_start(void);

/* Whether there are no clocks, as in QEMU's chip: no oscillator is ready, and a core runs. */
int clock_is_emulated(void);

/* 48 MHz for the chip's USB, and its clock, where a board has it. Returns 0 when that does not come to be. */
int clock_start_usb(void);

/* Give a timer, a GPIO port or a USART its clock. */
void clock_enable(uint32_t peripheral);

/* Bits of a register that gives clocks to what has no place by its address: DMA, DCMI, memories. */
typedef struct clock_gate {
    uint32_t at, bits;
} clock_gate_t;

static inline void clock_open(clock_gate_t gate)
{
    volatile uint32_t *reg = (volatile uint32_t *)gate.at;
    *reg |= gate.bits;
    (void)*reg;
}

/* Hz of the bus that a peripheral hangs on. */
uint32_t clock_of(uint32_t peripheral);

#endif
