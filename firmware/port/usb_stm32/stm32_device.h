/* What TinyUSB's driver asks of ST's device headers. */
#ifndef SP_STM32_DEVICE_H_INCLUDED
#define SP_STM32_DEVICE_H_INCLUDED

#include "board.h"

typedef uint32_t IRQn_Type;
#define USB_OTG_FS_PERIPH_BASE OTG_FS
#define USB2_OTG_FS OTG_FS
#define OTG_FS_IRQn OTG_FS_IRQ
#define SystemCoreClock CHIP_AHB_HZ /* by which the driver sets the turnaround */
#define __NOP() __asm volatile("nop")

static inline void NVIC_EnableIRQ(IRQn_Type irq)
{
    NVIC_ISER(irq) = IRQ_BIT(irq);
}

static inline void NVIC_DisableIRQ(IRQn_Type irq)
{
    NVIC_ICER(irq) = IRQ_BIT(irq);
    __asm volatile("dsb\n\tisb" ::: "memory");
}

#endif
