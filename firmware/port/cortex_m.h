/* The registers of a Cortex-M that ports use. */
#ifndef SP_PORT_CORTEX_M_H_INCLUDED
#define SP_PORT_CORTEX_M_H_INCLUDED

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

#define SYSTICK_CTRL REG(0xe000e010u)
#define SYSTICK_LOAD REG(0xe000e014u)
#define SYSTICK_NOW REG(0xe000e018u)
#define SYSTICK_CTRL_CORE_CLOCK_INTERRUPT_ON 7u
#define NVIC_ISER(irq) REG(0xe000e100u + 4 * ((irq) / 32))
#define NVIC_ICER(irq) REG(0xe000e180u + 4 * ((irq) / 32))
#define NVIC_ICPR(irq) REG(0xe000e280u + 4 * ((irq) / 32))
#define IRQ_BIT(irq) (1u << (irq) % 32u)
#define SCB_ICSR REG(0xe000ed04u)
#define SCB_ICSR_TICK_PENDS (1u << 26)
#define SCB_VTOR REG(0xe000ed08u)
#define SCB_AIRCR REG(0xe000ed0cu)
#define SCB_AIRCR_RESET (0x05fau << 16 | 1u << 2)
#define SCB_CCR REG(0xe000ed14u)
#define SCB_CCR_DATA_CACHE (1u << 16)
#define SCB_CCR_CODE_CACHE (1u << 17)
#define SCB_CCSIDR REG(0xe000ed80u)
#define SCB_CSSELR REG(0xe000ed84u)
#define SCB_ICIALLU REG(0xe000ef50u)
#define SCB_DCISW REG(0xe000ef60u)
#define SCB_CFSR REG(0xe000ed28u)
#define SCB_CFSR_NO_FRAME (1u << 4 | 1u << 12) /* the registers of the program could not be pushed */
#define SCB_CPACR REG(0xe000ed88u)
#define MPU_CTRL REG(0xe000ed94u)
#define MPU_CTRL_ON_WITH_DEFAULT 5u /* what no region names is as without an MPU; a fault's handler may do anything */
#define MPU_RNR REG(0xe000ed98u)
#define MPU_RBAR REG(0xe000ed9cu)
#define MPU_RASR REG(0xe000eda0u)
#define MPU_RASR_NEVER (1u << 28 | 1u)                          /* on: no access, no code */
#define MPU_RASR_UNCACHED (1u << 28 | 3u << 24 | 1u << 19 | 1u) /* normal memory, shared by nobody, no code */
#define MPU_RASR_BITS(bits) (((bits) - 1u) << 1)
#define MPU_RASR_WITHOUT(eighths) ((eighths) << 8)
#define DEMCR REG(0xe000edfcu)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL REG(0xe0001000u)
#define DWT_LAR REG(0xe0001fb0u)
#define DWT_LAR_UNLOCK 0xc5acce55u /* a Cortex-M7's is locked */
#define DWT_CYCCNT REG(0xe0001004u)

#endif
