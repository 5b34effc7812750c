/* GPIO ports and timers, which are the same in all families. */
#ifndef SP_STM32_COMMON_H_INCLUDED
#define SP_STM32_COMMON_H_INCLUDED

#include "cortex_m.h"

#define GPIO_MODER(port) REG(port + 0x00)
#define GPIO_OSPEEDR(port) REG(port + 0x08)
#define GPIO_PUPDR(port) REG(port + 0x0c)
#define GPIO_BSRR(port) REG(port + 0x18)
#define GPIO_AFR(port, pin) REG(port + 0x20 + 4 * ((pin) / 8))

#define TIM_CR1(timer) REG(timer + 0x00)
#define TIM_CNT(timer) REG(timer + 0x24)
#define TIM_ARR(timer) REG(timer + 0x2c)

#endif
