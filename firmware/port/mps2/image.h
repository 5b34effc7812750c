/* What differs between the images: addresses, interrupts and the timer. */
#ifndef SP_IMAGE_H_INCLUDED
#define SP_IMAGE_H_INCLUDED

#define REG(address) (*(volatile uint32_t *)(address))

#if defined(SP_MCU_AN547) /* the secure half, in which the core starts */
#define UART0 0x59303000u
#define UART1 0x59304000u
#define UART0_RX_IRQ 33u
#define UART0_TX_IRQ 34u
#define UART1_RX_IRQ 35u
#include "timer_sse.h"
#else
#define UART0 0x40004000u
#define UART1 0x40005000u
#define UART0_RX_IRQ 0u
#define UART0_TX_IRQ 1u
#define UART1_RX_IRQ 2u
#include "timer_cmsdk.h"
#endif

#endif
