/* Nucleo-H743ZI2. Link: USART3, PD8 out and PD9 in, to the ST-LINK's serial port. Camera port: USART6, PC6 out and PC7 in;
 * PB12 stops it. Frame port: DCMI and I2C1 (PB8, PB9); two of its pins are the camera port's, so one of both is used at a time,
 * whichever was opened last. What is in domain 2's memory is in no cache. The ST-LINK feeds 8 MHz in the place of a crystal. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "stm32h7.h"

#define BOARD_CRYSTAL_MHZ 8u
#define BOARD_CLOCK_IS_FED 1

#define BOARD_LINK_USART USART3
#define BOARD_LINK_IRQ USART3_IRQ
#define BOARD_LINK_DMA {DMA1, 0u, 45u, DMA1_STREAM0_IRQ}
#define BOARD_LINK_DMA_IRQ DMA1_STREAM0_IRQ
#define BOARD_CAMERA_USART USART6
#define BOARD_CAMERA_IRQ USART6_IRQ
#define BOARD_CAMERA_DMA {DMA1, 1u, 71u, DMA1_STREAM1_IRQ}
#define BOARD_CAMERA_DMA_IRQ DMA1_STREAM1_IRQ

/* {port, pin, alternate function} */
#define BOARD_LINES {GPIOD, 8, 7}, {GPIOD, 9, 7}, {GPIOC, 6, 7}, {GPIOC, 7, 7}
#define BOARD_USB_LINES {GPIOA, 11, 10}, {GPIOA, 12, 10}
#define BOARD_CAMERA_STOP {GPIOB, 12, 0}

/* HSYNC, PIXCK, VSYNC, D0 to D7 */
#define BOARD_FRAMES_PINS \
    {GPIOA, 4, 13}, {GPIOA, 6, 13}, {GPIOB, 7, 13}, {GPIOC, 6, 13}, {GPIOC, 7, 13}, {GPIOC, 8, 13}, {GPIOC, 9, 13}, \
        {GPIOC, 11, 13}, {GPIOD, 3, 13}, {GPIOE, 5, 13}, {GPIOE, 6, 13}
#define BOARD_FRAMES_BLANKS (DCMI_CR_LINE_BLANK_HIGH | DCMI_CR_FRAME_BLANK_HIGH | DCMI_CR_CLOCK_RISES)
#define BOARD_FRAMES_DMA_STREAM 1u
#define BOARD_FRAMES_DMA_REQUEST 75u
#define BOARD_FRAMES_DMA_IRQ DMA2_STREAM1_IRQ
#define BOARD_FRAMES_I2C I2C1
#define BOARD_FRAMES_I2C_PINS {GPIOB, 8, 4}, {GPIOB, 9, 4}
#define BOARD_UNCACHED 0x30000000u
#define BOARD_UNCACHED_BITS 19u

#endif
