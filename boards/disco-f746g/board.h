/* STM32F746G-Disco. Link: USART1, PA9 out and PB7 in, to the ST-LINK's serial port. Camera port: USART6, PC6 out (D1) and
 * PC7 in (D0); PG6 (D2) stops it. Frame port: the camera connector P1 (DCMI, I2C1), whose power PH13 turns off. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "stm32f7.h"

#define BOARD_CRYSTAL_MHZ 25u

#define BOARD_LINK_USART USART1
#define BOARD_LINK_IRQ USART1_IRQ
#define BOARD_LINK_DMA {DMA2, 5u, 4u, DMA2_STREAM5_IRQ}
#define BOARD_LINK_DMA_IRQ DMA2_STREAM5_IRQ
#define BOARD_CAMERA_USART USART6
#define BOARD_CAMERA_IRQ USART6_IRQ
#define BOARD_CAMERA_DMA {DMA2, 2u, 5u, DMA2_STREAM2_IRQ}
#define BOARD_CAMERA_DMA_IRQ DMA2_STREAM2_IRQ

/* {port, pin, alternate function} */
#define BOARD_LINES {GPIOA, 9, 7}, {GPIOB, 7, 7}, {GPIOC, 6, 8}, {GPIOC, 7, 8}
#define BOARD_USB_LINES {GPIOA, 11, 10}, {GPIOA, 12, 10}
#define BOARD_CAMERA_STOP {GPIOG, 6, 0}

/* HSYNC, PIXCK, VSYNC, D0 to D7 */
#define BOARD_FRAMES_PINS \
    {GPIOA, 4, 13}, {GPIOA, 6, 13}, {GPIOG, 9, 13}, {GPIOH, 9, 13}, {GPIOH, 10, 13}, {GPIOH, 11, 13}, {GPIOH, 12, 13}, \
        {GPIOH, 14, 13}, {GPIOD, 3, 13}, {GPIOE, 5, 13}, {GPIOE, 6, 13}
#define BOARD_FRAMES_BLANKS (DCMI_CR_LINE_BLANK_HIGH | DCMI_CR_FRAME_BLANK_HIGH | DCMI_CR_CLOCK_RISES)
#define BOARD_FRAMES_DMA_STREAM 1u
#define BOARD_FRAMES_DMA_REQUEST 1u
#define BOARD_FRAMES_DMA_IRQ DMA2_STREAM1_IRQ
#define BOARD_FRAMES_I2C I2C1
#define BOARD_FRAMES_I2C_PINS {GPIOB, 8, 4}, {GPIOB, 9, 4}
#define PACKETS_MOST 32u /* memory.ld has as many */
#define BOARD_FRAMES_POWER_OFF {GPIOH, 13, 0}

#endif
