/* STM32F746G-Disco. Link: USART1, PA9 out and PB7 in, to the ST-LINK's serial port. Camera port: USART6, PC6 out (D1) and
 * PC7 in (D0); PG6 (D2) stops it. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "stm32f7.h"

#define BOARD_CRYSTAL_MHZ 25u

#define BOARD_LINK_USART USART1
#define BOARD_LINK_IRQ USART1_IRQ
#define BOARD_CAMERA_USART USART6
#define BOARD_CAMERA_IRQ USART6_IRQ

/* {port, pin, alternate function} */
#define BOARD_LINES {GPIOA, 9, 7}, {GPIOB, 7, 7}, {GPIOC, 6, 8}, {GPIOC, 7, 8}
#define BOARD_CAMERA_STOP {GPIOG, 6, 0}

#endif
