/* How the firmware ends and begins: a stack that runs over, faults and the watchdog, the chip's number, starting anew. */
#ifndef SP_RP2_END_H_INCLUDED
#define SP_RP2_END_H_INCLUDED

#include <stdint.h>

/* A stack that runs over ends in a fault, instead of in the application's block below it. */
void end_guard_stack(void);

/* To be called once, before anything can fail: what the last start left is read, and forgotten. */
void end_recall(void);

/* Starts anew at once, since USB does not work without interrupts: the next HELLO says what happened. */
void cortex_m_died(uint32_t at, uint32_t detail);

/* Read the chip's number; on an RP2040 it is in the flash, from which nothing can run meanwhile: before interrupts. */
void end_find_id(void);

/* From now on a reset comes when the main loop has not fed the watchdog for a minute. The chip's own holds 8 seconds, which
 * a model's encoder may take in software floating point: the tick feeds that one, as long as the main loop comes round. */
void watchdog_begin(void);
void watchdog_feed(void);
void watchdog_tick(void);

#endif
