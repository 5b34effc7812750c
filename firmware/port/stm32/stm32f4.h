/* The registers of an STM32F4 that are used here. Where a name stands in another family's header, too, the family's
 * files (usart.c, gpio.c, counter.c) work with either; what is not is in clock_f4_f7.c. */
#ifndef SP_STM32F4_H_INCLUDED
#define SP_STM32F4_H_INCLUDED

#include "cortex_m.h"
#include "stm32_common.h"

#define SP_STM32F4 1

#define CHIP_BOOTLOADER 0x1fff0000u
#define CHIP_UNIQUE_ID 0x1fff7a10u
#define CHIP_WATCHDOG 0x40003000u
#define CHIP_RESET_FLAGS REG(0x40023874u)
#define CHIP_RESET_BY_WATCHDOG (1u << 29)
#define CHIP_RESET_FLAGS_CLEAR (1u << 24)

#define APB1 0x40000000u
#define APB2 0x40010000u
#define AHB1 0x40020000u

#define TIM2 0x40000000u
#define USART2 0x40004400u
#define USART6 0x40011400u
#define GPIOA 0x40020000u
#define GPIOB 0x40020400u
#define GPIOC 0x40020800u
#define OTG_FS 0x50000000u
#define OTG_FS_GCCFG REG(OTG_FS + 0x38u)
#define OTG_FS_GCCFG_WITHOUT_VBUS (1u << 21) /* attach without a pin that says that a host is there */

#define USART2_IRQ 38u
#define OTG_FS_IRQ 67u
#define USART6_IRQ 71u
#define CHIP_INTERRUPTS 82
#define CHIP_AHB_HZ 168000000u

#define USART_SR(usart) REG(usart + 0x00)
#define USART_SR_ORE (1u << 3)
#define USART_SR_RXNE (1u << 5)
#define USART_SR_TC (1u << 6)
#define USART_SR_TXE (1u << 7)
#define USART_RDR(usart) REG(usart + 0x04)
#define USART_TDR(usart) REG(usart + 0x04)
#define USART_CLEAR_OVERRUN(usart) ((void)0) /* reading the byte does */
#define USART_BRR(usart) REG(usart + 0x08)
#define USART_CR1(usart) REG(usart + 0x0c)
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_RXNEIE (1u << 5)
#define USART_CR1_TXEIE (1u << 7)
#define USART_CR1_UE (1u << 13)
#define USART_CR1_OVER8 (1u << 15)

#endif
