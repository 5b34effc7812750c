/* Cycles, by the DWT; where that does not count, it is QEMU's that has none, and timer 2, which runs there at 1 GHz, is
 * read instead: instructions, exactly, under `-icount shift=0`. */
#ifndef SP_STM32_COUNTER_H_INCLUDED
#define SP_STM32_COUNTER_H_INCLUDED

/* Whether the DWT counts: on silicon. */
int counter_start(void);
int counter_is_of_silicon(void);

#endif
