/* The frame port of a board with a parallel camera interface (DCMI): a GENX320, whose packets a DMA writes to two buffers in
 * turn. BOARD_FRAMES_PINS says which pins it has; without, there is none. */
#ifndef SP_STM32_FRAMES_H_INCLUDED
#define SP_STM32_FRAMES_H_INCLUDED

#include "board.h"

/* Once, after the clocks. */
void frames_start(void);

/* Whether packets have come since the reader looked last, or something is still to be said to the sensor. */
int frames_is_news(void);

/* A buffer is full; a frame has ended, or the receiver overran. */
void port_frames_filled(void);
void port_frames_ended(void);

#if defined(BOARD_FRAMES_PINS)
#define FRAMES_VECTORS , [BOARD_FRAMES_DMA_IRQ] = port_frames_filled, [DCMI_IRQ] = port_frames_ended
#else
#define FRAMES_VECTORS
#endif

#endif
