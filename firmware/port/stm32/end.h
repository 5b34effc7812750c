/* Why the firmware ended before it was started this time, kept in RAM that a reset leaves alone; and the watchdog, which
 * ends it when the main loop does not come round. */
#ifndef SP_STM32_END_H_INCLUDED
#define SP_STM32_END_H_INCLUDED

/* To be called once, before anything can fail: what the last start left is read, and forgotten. */
void end_recall(void);

/* From now on a reset comes when nobody feeds the watchdog for half a minute, which no model's encoder takes. */
void watchdog_start(void);
void watchdog_feed(void);

#endif
