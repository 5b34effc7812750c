/* GPIO ports, timers, I2C, DMA and camera interfaces, which are the same in all families that have them. */
#ifndef SP_STM32_COMMON_H_INCLUDED
#define SP_STM32_COMMON_H_INCLUDED

#include "cortex_m.h"

#define GPIO_MODER(port) REG(port + 0x00)
#define GPIO_OTYPER(port) REG(port + 0x04)
#define GPIO_OSPEEDR(port) REG(port + 0x08)
#define GPIO_PUPDR(port) REG(port + 0x0c)
#define GPIO_BSRR(port) REG(port + 0x18)
#define GPIO_AFR(port, pin) REG(port + 0x20 + 4 * ((pin) / 8))

#define TIM_CR1(timer) REG(timer + 0x00)
#define TIM_CNT(timer) REG(timer + 0x24)
#define TIM_ARR(timer) REG(timer + 0x2c)

#define I2C_CR1(i2c) REG(i2c + 0x00)
#define I2C_CR1_ON 1u
#define I2C_CR2(i2c) REG(i2c + 0x04)
#define I2C_CR2_READ (1u << 10)
#define I2C_CR2_START (1u << 13)
#define I2C_CR2_STOPS_BY_ITSELF (1u << 25)
#define I2C_TIMINGR(i2c) REG(i2c + 0x10)
#define I2C_ISR(i2c) REG(i2c + 0x18)
#define I2C_ISR_TXIS (1u << 1)
#define I2C_ISR_RXNE (1u << 2)
#define I2C_ISR_NACK (1u << 4)
#define I2C_ISR_STOP (1u << 5)
#define I2C_ISR_TC (1u << 6)
#define I2C_ICR(i2c) REG(i2c + 0x1c)
#define I2C_RXDR(i2c) REG(i2c + 0x24)
#define I2C_TXDR(i2c) REG(i2c + 0x28)

/* A stream of a DMA, by its number. Its flags are six bits of a status register that four streams share. */
#define DMA_STATUS(dma, stream) REG((dma) + 0x00u + (stream) / 4u * 4u)
#define DMA_CLEAR(dma, stream) REG((dma) + 0x08u + (stream) / 4u * 4u)
#define DMA_FLAGS_AT(stream) ((stream) % 4u / 2u * 16u + (stream) % 2u * 6u)
#define DMA_FLAGS 0x3du
#define DMA_FLAG_HALF (1u << 4)
#define DMA_FLAG_FULL (1u << 5)
#define DMA_CR(dma, stream) REG((dma) + 0x10u + 0x18u * (stream))
#define DMA_CR_ON (1u << 0)
#define DMA_CR_HALF_INTERRUPT (1u << 3)
#define DMA_CR_FULL_INTERRUPT (1u << 4)
#define DMA_CR_CIRCULAR (1u << 8)
#define DMA_CR_MEMORY_STEPS (1u << 10)
#define DMA_CR_WORDS (2u << 11 | 2u << 13)
#define DMA_CR_FIRST_OF_ALL (3u << 16)
#define DMA_CR_TWO_BUFFERS (1u << 18)
#define DMA_CR_SECOND (1u << 19) /* which of them is being filled */
#define DMA_CR_CHANNEL(number) ((number) << 25)
#define DMA_LEFT(dma, stream) REG((dma) + 0x14u + 0x18u * (stream))
#define DMA_FROM(dma, stream) REG((dma) + 0x18u + 0x18u * (stream))
#define DMA_TO(dma, stream, buffer) REG((dma) + 0x1cu + 0x18u * (stream) + 4u * (buffer))

#define DCMI_CR REG(DCMI + 0x00u)
#define DCMI_CR_CAPTURE (1u << 0)
#define DCMI_CR_CLOCK_RISES (1u << 5)
#define DCMI_CR_LINE_BLANK_HIGH (1u << 6)
#define DCMI_CR_FRAME_BLANK_HIGH (1u << 7)
#define DCMI_CR_ON (1u << 14)
#define DCMI_SR REG(DCMI + 0x04u)
#define DCMI_SR_HOLDS_WORDS (1u << 2)
#define DCMI_IER REG(DCMI + 0x0cu)
#define DCMI_MIS REG(DCMI + 0x10u)
#define DCMI_ICR REG(DCMI + 0x14u)
#define DCMI_FRAME (1u << 0) /* has ended */
#define DCMI_OVERRUN (1u << 1)
#define DCMI_DR (DCMI + 0x28u)

#endif
