/* Vectors, reset and faults of a Cortex-M; included by the startup.c of a port, which adds its interrupts:
 * CORTEX_M_VECTORS(SysTick's handler, how many, [number] = handler, ...). The linker script gives the symbols. */
#ifndef SP_PORT_CORTEX_M_STARTUP_H_INCLUDED
#define SP_PORT_CORTEX_M_STARTUP_H_INCLUDED

#include "cortex_m.h"
#include "port.h"

#define FPU_FULL_ACCESS (0xfu << 20)

extern uint32_t link_stack_top[], link_data_load[], link_data_start[], link_data_end[], link_bss_start[],
    link_bss_end[];

int main(int argc, char **argv);
void reset_handler(void);

/* Runs before the FPU is on, where there is one: no float in here. */
void reset_handler(void)
{
#ifdef __ARM_FP
    SCB_CPACR |= FPU_FULL_ACCESS;
    __asm volatile("dsb\n\tisb");
#endif
    uint32_t *from = link_data_load;
    for (uint32_t *to = link_data_start; to < link_data_end; to++)
        *to = *from++;
    for (uint32_t *to = link_bss_start; to < link_bss_end; to++)
        *to = 0;
    main(0, NULL);
    for (;;) {
    }
}

/* To be written by the port: remember where the program ended, for the next start. */
void cortex_m_died(uint32_t at, uint32_t detail);

static void __attribute__((used)) report_fault(uint32_t at)
{
#ifdef __ARM_ARCH_6M__
    const uint32_t detail = 0; /* the core does not say */
#else
    const uint32_t detail = SCB_CFSR;
#endif
    if ((detail & SCB_CFSR_NO_FRAME) != 0)
        at = 0;
    cortex_m_died(at, detail);
    app_panic("the core took a fault; detail: program counter, CFSR", at, detail);
}

/* Also for the interrupts that have no handler: none of them is ever enabled. The program's PC is the seventh of the
 * registers that the core pushed on its only stack. That may be what is wrong, so the report begins it anew. */
static void __attribute__((naked)) fault_handler(void)
{
    __asm volatile("mrs r0, msp\n\t"
                   "ldr r0, [r0, #24]\n\t"
                   "ldr r1, =link_stack_top\n\t"
                   "mov sp, r1\n\t"
                   "ldr r1, =report_fault\n\t"
                   "bx r1\n\t"
                   ".ltorg");
}

typedef void (*vector_t)(void);

#define CORTEX_M_VECTORS(systick, count, ...) \
    static const struct { \
        uint32_t *stack; \
        vector_t reset; \
        vector_t faults[13]; /* NMI to PendSV */ \
        vector_t tick; \
        vector_t interrupts[count]; \
    } vectors __attribute__((section(".vectors"), used)) = { \
        link_stack_top, \
        reset_handler, \
        {fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, \
         fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler}, \
        systick, \
        {__VA_ARGS__}, \
    }

#endif
