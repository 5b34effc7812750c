/* The registers of an STM32F7 that are used here, by the names that stand in the other families' headers, too. */
#ifndef SP_STM32F7_H_INCLUDED
#define SP_STM32F7_H_INCLUDED

#include "cortex_m.h"
#include "stm32_common.h"
#include "stm32_usart_v2.h"

#define SP_STM32F7 1

#define CHIP_BOOTLOADER 0x1ff00000u
#define CHIP_UNIQUE_ID 0x1ff0f420u
#define CHIP_WATCHDOG 0x40003000u
#define CHIP_RESET_FLAGS REG(0x40023874u)
#define CHIP_RESET_BY_WATCHDOG (1u << 29)
#define CHIP_RESET_FLAGS_CLEAR (1u << 24)

#define APB1 0x40000000u
#define APB2 0x40010000u
#define AHB1 0x40020000u

#define CHIP_DMA_CLOCKS {0x40023830u, 3u << 21}, {0x40023834u, 1u} /* with the DCMI's */
#define CHIP_DMA_OF_USART 0u
#define CHIP_DMA_REQUESTS 0u /* a stream's channels are wired */

#define TIM2 0x40000000u
#define I2C1 0x40005400u
#define USART1 0x40011000u
#define USART6 0x40011400u
#define GPIOA 0x40020000u
#define GPIOB 0x40020400u
#define GPIOC 0x40020800u
#define GPIOD 0x40020c00u
#define GPIOE 0x40021000u
#define GPIOG 0x40021800u
#define GPIOH 0x40021c00u
#define DMA2 0x40026400u
#define OTG_FS 0x50000000u
#define DCMI 0x50050000u

#define USART1_IRQ 37u
#define DMA2_STREAM1_IRQ 57u
#define DMA2_STREAM2_IRQ 58u
#define OTG_FS_IRQ 67u
#define DMA2_STREAM5_IRQ 68u
#define USART6_IRQ 71u
#define DCMI_IRQ 78u
#define CHIP_INTERRUPTS 98
#define CHIP_AHB_HZ 216000000u

#endif
