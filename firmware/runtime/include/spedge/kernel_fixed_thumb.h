/* kernel_fixed.h by the instructions of Armv6-M: two products of bytes are one multiplication. (x1 + 2^16 x0) (w0 + 2^16 w1)
 * is x1 w0 + 2^16 (x0 w0 + x1 w1) in 32 bits, and with 2^15 more, divided by 2^16, it is the sum of the two. */
#ifndef SP_KERNEL_FIXED_THUMB_H_INCLUDED
#define SP_KERNEL_FIXED_THUMB_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

/* Assembly, laid out by hand. */
/* clang-format off */

/* r3 or r4: the weights w0 + 2^16 w1 of two steps; r12: 2^15. */
#define SP_K_TWO(x, w, sum) \
    "muls " x ", " w "\n\t" \
    "add " x ", r12\n\t" \
    "asrs " x ", " x ", #16\n\t" \
    "add " sum ", " x "\n\t"
#define SP_K_GROUP \
    "ldmia r1!, {r3}\n\t" \
    "lsrs r4, r3, #8\n\t" \
    "ands r3, r2\n\t" \
    "ands r4, r2\n\t" \
    "add r3, lr\n\t" \
    "add r4, lr\n\t" \
    "ldmia r0!, {r5, r6, r7}\n\t" \
    SP_K_TWO("r5", "r3", "r8") SP_K_TWO("r6", "r4", "r8") SP_K_TWO("r7", "r3", "r9") \
    "ldmia r0!, {r5, r6, r7}\n\t" \
    SP_K_TWO("r5", "r4", "r9") SP_K_TWO("r6", "r3", "r10") SP_K_TWO("r7", "r4", "r10") \
    "ldmia r0!, {r5, r6}\n\t" \
    SP_K_TWO("r5", "r3", "r11") SP_K_TWO("r6", "r4", "r11")

/* Four rows. On the stack: where four groups at a time end, where all do; above what is saved nothing: sums is saved. */
__attribute__((naked, noinline, unused)) static void sp_k_fixed_dot8_4(
    __attribute__((unused)) const int32_t *x, __attribute__((unused)) const int8_t *w,
    __attribute__((unused)) int32_t groups, __attribute__((unused)) int32_t *sums)
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r3-r7, lr}\n\t"
                     "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
                     "push {r4-r7}\n\t"
                     "sub sp, #8\n\t"
                     "lsls r4, r2, #5\n\tadds r4, r4, r0\n\tstr r4, [sp, #4]\n\t"
                     "lsrs r4, r2, #2\n\tlsls r4, r4, #7\n\tadds r4, r4, r0\n\tstr r4, [sp]\n\t"
                     "movs r2, #255\n\tlsls r3, r2, #16\n\torrs r2, r3\n\t"
                     "movs r3, #128\n\tlsls r4, r3, #8\n\tmov r12, r4\n\t"
                     "lsls r4, r3, #16\n\torrs r3, r4\n\trsbs r3, r3, #0\n\tmov lr, r3\n\t"
                     "movs r3, #0\n\tmov r8, r3\n\tmov r9, r3\n\tmov r10, r3\n\tmov r11, r3\n\t"
                     "b 2f\n"
                     "1:\t" SP_K_GROUP SP_K_GROUP SP_K_GROUP SP_K_GROUP
                     "2:\tldr r3, [sp]\n\tcmp r0, r3\n\tbeq 3f\n\tb 1b\n"
                     "3:\tldr r3, [sp, #4]\n\tcmp r0, r3\n\tbeq 4f\n\t" SP_K_GROUP "b 3b\n"
                     "4:\tldr r3, [sp, #24]\n\t"
                     "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
                     "stmia r3!, {r4-r7}\n\t"
                     "add sp, #8\n\t"
                     "pop {r4-r7}\n\t"
                     "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
                     "pop {r3-r7, pc}\n\t");
}
/* clang-format on */

/* w is 4-byte aligned. */
static inline void sp_k_fixed_dot8(const int32_t *x, const int8_t *w, int32_t groups, int32_t rows, int32_t *sums)
{
    if (rows == 4)
        sp_k_fixed_dot8_4(x, w, groups, sums);
    else
        sp_k_fixed_dot8_c(x, w, groups, rows, sums);
}

#undef SP_K_TWO
#undef SP_K_GROUP

#ifdef __cplusplus
}
#endif
#endif
