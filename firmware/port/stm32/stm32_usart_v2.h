/* The USART of the F7, the H7 and later families: what the F4's has, at other places. */
#ifndef SP_STM32_USART_V2_H_INCLUDED
#define SP_STM32_USART_V2_H_INCLUDED

#define USART_CR1(usart) REG(usart + 0x00)
#define USART_CR1_UE (1u << 0)
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_IDLEIE (1u << 4)
#define USART_CR1_RXNEIE (1u << 5)
#define USART_CR1_TXEIE (1u << 7)
#define USART_CR1_OVER8 (1u << 15)
#define USART_CR3(usart) REG(usart + 0x08)
#define USART_CR3_EIE (1u << 0)
#define USART_CR3_DMAR (1u << 6)
#define USART_BRR(usart) REG(usart + 0x0c)
#define USART_SR(usart) REG(usart + 0x1c)
#define USART_SR_ORE (1u << 3)
#define USART_SR_IDLE (1u << 4)
#define USART_SR_RXNE (1u << 5)
#define USART_SR_TC (1u << 6)
#define USART_SR_TXE (1u << 7)
#define USART_ICR(usart) REG(usart + 0x20)
#define USART_CLEAR_OVERRUN(usart) (USART_ICR(usart) = USART_SR_ORE)
#define USART_RDR_AT(usart) (usart + 0x24)
#define USART_RDR(usart) REG(USART_RDR_AT(usart))
#define USART_TDR(usart) REG(usart + 0x28)

#endif
