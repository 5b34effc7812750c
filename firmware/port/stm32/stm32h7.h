/* The registers of an STM32H7 that are used here, by the names that stand in the other families' headers, too. */
#ifndef SP_STM32H7_H_INCLUDED
#define SP_STM32H7_H_INCLUDED

#include "cortex_m.h"
#include "stm32_common.h"
#include "stm32_usart_v2.h"

#define SP_STM32H7 1

#define CHIP_BOOTLOADER 0x1ff09800u
#define CHIP_UNIQUE_ID 0x1ff1e800u
#define CHIP_WATCHDOG 0x58004800u
#define CHIP_RESET_FLAGS REG(0x580244d0u)
#define CHIP_RESET_BY_WATCHDOG (1u << 26)
#define CHIP_RESET_FLAGS_CLEAR (1u << 16)

#define APB1 0x40000000u
#define APB2 0x40010000u
#define AHB4 0x58020000u

#define CHIP_DMA_CLOCKS {0x580244d8u, 3u}, {0x580244dcu, 1u | 7u << 29} /* with DCMI's and domain 2's memories' */
#define CHIP_DMA_OF_USART (1u << 20) /* TRBUFF: else a stream may lock up that moves a USART's bytes */
#define CHIP_DMA_REQUESTS 0x40020800u

#define TIM2 0x40000000u
#define USART3 0x40004800u
#define I2C1 0x40005400u
#define USART6 0x40011400u
#define DMA1 0x40020000u
#define DMA2 0x40020400u
#define OTG_FS 0x40080000u
#define DCMI 0x48020000u
#define GPIOA 0x58020000u
#define GPIOB 0x58020400u
#define GPIOC 0x58020800u
#define GPIOD 0x58020c00u
#define GPIOE 0x58021000u

#define USART3_IRQ 39u
#define DMA1_STREAM0_IRQ 11u
#define DMA1_STREAM1_IRQ 12u
#define DMA2_STREAM1_IRQ 57u
#define USART6_IRQ 71u
#define DCMI_IRQ 78u
#define OTG_FS_IRQ 101u
#define CHIP_INTERRUPTS 150
#define CHIP_AHB_HZ 200000000u

#endif
