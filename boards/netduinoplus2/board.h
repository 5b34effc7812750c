/* Netduino Plus 2 (STM32F405). Link: USART2, PA2 out and PA3 in. Camera port: USART6, PC6 out and PC7 in.
 * Both are received by interrupts: QEMU's chip has no DMA. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "stm32f4.h"

#define BOARD_CRYSTAL_MHZ 25u

#define BOARD_LINK_USART USART2
#define BOARD_LINK_IRQ USART2_IRQ
#define BOARD_CAMERA_USART USART6
#define BOARD_CAMERA_IRQ USART6_IRQ

/* {port, pin, alternate function} */
#define BOARD_LINES {GPIOA, 2, 7}, {GPIOA, 3, 7}, {GPIOC, 6, 8}, {GPIOC, 7, 8}
#define BOARD_USB_LINES {GPIOA, 11, 10}, {GPIOA, 12, 10}
#define BOARD_CAMERA_STOP {GPIOB, 12, 0}

#endif
