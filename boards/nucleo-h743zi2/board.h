/* Nucleo-H743ZI2. Link: USART3, PD8 out and PD9 in, to the ST-LINK's serial port. Camera port: USART6, PC6 out and PC7 in;
 * PB12 stops it. The ST-LINK feeds 8 MHz in the place of a crystal. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "stm32h7.h"

#define BOARD_CRYSTAL_MHZ 8u
#define BOARD_CLOCK_IS_FED 1

#define BOARD_LINK_USART USART3
#define BOARD_LINK_IRQ USART3_IRQ
#define BOARD_CAMERA_USART USART6
#define BOARD_CAMERA_IRQ USART6_IRQ

/* {port, pin, alternate function} */
#define BOARD_LINES {GPIOD, 8, 7}, {GPIOD, 9, 7}, {GPIOC, 6, 7}, {GPIOC, 7, 7}
#define BOARD_CAMERA_STOP {GPIOB, 12, 0}

#endif
