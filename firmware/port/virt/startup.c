/* Reset and traps of a 32-bit RISC-V core in machine mode. */
#include "port.h"

extern uint32_t link_data_load[], link_data_start[], link_data_end[], link_bss_start[], link_bss_end[];

int main(int argc, char **argv);

/* FPU on (mstatus.FS), traps to trap_entry, stack and global pointer set. */
__asm__(".section .start, \"ax\"\n"
        ".globl start\n"
        "start:\n\t"
        ".option push\n\t"
        ".option norelax\n\t"
        "la gp, link_global_pointer\n\t"
        ".option pop\n\t"
        "la sp, link_stack_top\n\t"
        "la t0, trap_entry\n\t"
        "csrw mtvec, t0\n\t"
        "li t0, 0x2000\n\t"
        "csrs mstatus, t0\n\t"
        "csrwi fcsr, 0\n\t"
        "j prepare\n\t"
        ".balign 4\n"
        "trap_entry:\n\t"
        "csrr a0, mepc\n\t"
        "csrr a1, mcause\n\t"
        "j report_trap\n\t"
        ".text\n");

static void __attribute__((used)) prepare(void) __asm__("prepare");
static void __attribute__((used)) report_trap(uint32_t at, uint32_t cause) __asm__("report_trap");

static void prepare(void)
{
    const uint32_t *from = link_data_load;
    for (uint32_t *to = link_data_start; to < link_data_end; to++)
        *to = *from++;
    for (uint32_t *to = link_bss_start; to < link_bss_end; to++)
        *to = 0;
    main(0, NULL);
    for (;;) {
    }
}

static void report_trap(uint32_t at, uint32_t cause)
{
    app_panic("the core took a trap; detail: program counter, mcause", at, cause);
}
