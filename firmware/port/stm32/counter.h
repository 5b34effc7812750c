/* Cycles, by the DWT; where that does not count, it is QEMU's that has none, and timer 2, which runs there at 1 GHz, is
 * read instead: instructions, exactly, under `-icount shift=0`. */
#ifndef SP_STM32_COUNTER_H_INCLUDED
#define SP_STM32_COUNTER_H_INCLUDED

void counter_start(void);

#endif
