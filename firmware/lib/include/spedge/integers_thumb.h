/* integers.h by the instructions of Armv6-M: eight sums, of four rows, stay in registers. A product of 24 by 24 bits is
 * three multiplications of halves, in eleven cycles of a Cortex-M0+. */
#ifndef SP_INTEGERS_THUMB_H_INCLUDED
#define SP_INTEGERS_THUMB_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

/* Assembly, laid out by hand. */
/* clang-format off */

/* x[k][r] is at r0 + 16 k + 4 r, in r2 and r3 the low and the high half of w[k]. */
#define SP_INTEGER_ROW(at, high, cross) \
    "ldr r4, [r0, #" #at "]\n\t" \
    "sxth r5, r4\n\t" \
    "asrs r4, r4, #16\n\t" \
    "muls r5, r3\n\t" \
    "add " cross ", r5\n\t" \
    "mov r5, r4\n\t" \
    "muls r5, r2\n\t" \
    "add " cross ", r5\n\t" \
    "muls r4, r3\n\t" \
    "add " high ", r4\n\t"
#define SP_INTEGER_STEP(w, x0, x1, x2, x3) \
    "ldr r2, [r1, #" #w "]\n\t" \
    "asrs r3, r2, #16\n\t" \
    "sxth r2, r2\n\t" \
    SP_INTEGER_ROW(x0, "r6", "r7") SP_INTEGER_ROW(x1, "r8", "r9") \
    SP_INTEGER_ROW(x2, "r10", "r11") SP_INTEGER_ROW(x3, "r12", "lr")
/* r2: sums, r3: up, r4: 12 - up. */
#define SP_INTEGER_OUT(at, high, cross) \
    "mov r5, " cross "\n\t" \
    "asrs r5, r4\n\t" \
    "mov r0, " high "\n\t" \
    "lsls r0, r3\n\t" \
    "adds r0, r0, r5\n\t" \
    "str r0, [r2, #" #at "]\n\t"

/* r0: x, r1: w, r2: steps, r3: up. On the stack: where eight steps at a time end, where all do, up; above what is saved,
 * sums. one, eight: bytes from a step's weight to the next, and to that of the eighth. */
#define SP_INTEGER_SUMS(name, w0, w1, w2, w3, w4, w5, w6, w7, one, eight) \
    __attribute__((naked, noinline, unused)) static void name( \
        __attribute__((unused)) const int32_t *x, __attribute__((unused)) const int32_t *w, \
        __attribute__((unused)) int32_t steps, __attribute__((unused)) int32_t up, __attribute__((unused)) int32_t *sums) \
    { \
        __asm__ volatile(".syntax unified\n\t" \
                         "push {r4-r7, lr}\n\t" \
                         "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t" \
                         "push {r4-r7}\n\t" \
                         "sub sp, #12\n\t" \
                         "str r3, [sp, #8]\n\t" \
                         "lsls r3, r2, #4\n\tadds r3, r3, r0\n\tstr r3, [sp, #4]\n\t" \
                         "lsrs r3, r2, #3\n\tlsls r3, r3, #7\n\tadds r3, r3, r0\n\tstr r3, [sp]\n\t" \
                         "movs r6, #0\n\tmovs r7, #0\n\tmov r8, r6\n\tmov r9, r6\n\tmov r10, r6\n\tmov r11, r6\n\t" \
                         "mov r12, r6\n\tmov lr, r6\n\t" \
                         "b 2f\n" \
                         "1:\t" \
                         SP_INTEGER_STEP(w0, 0, 4, 8, 12) SP_INTEGER_STEP(w1, 16, 20, 24, 28) \
                         SP_INTEGER_STEP(w2, 32, 36, 40, 44) SP_INTEGER_STEP(w3, 48, 52, 56, 60) \
                         SP_INTEGER_STEP(w4, 64, 68, 72, 76) SP_INTEGER_STEP(w5, 80, 84, 88, 92) \
                         SP_INTEGER_STEP(w6, 96, 100, 104, 108) SP_INTEGER_STEP(w7, 112, 116, 120, 124) \
                         "adds r0, #128\n\tadds r1, #" #eight "\n" \
                         "2:\tldr r4, [sp]\n\tcmp r0, r4\n\tbeq 3f\n\tb 1b\n" \
                         "3:\tldr r4, [sp, #4]\n\tcmp r0, r4\n\tbeq 4f\n\t" \
                         SP_INTEGER_STEP(0, 0, 4, 8, 12) \
                         "adds r0, #16\n\tadds r1, #" #one "\n\tb 3b\n" \
                         "4:\tldr r3, [sp, #8]\n\tldr r2, [sp, #48]\n\t" \
                         "movs r4, #12\n\tsubs r4, r4, r3\n\t" \
                         SP_INTEGER_OUT(0, "r6", "r7") SP_INTEGER_OUT(4, "r8", "r9") SP_INTEGER_OUT(8, "r10", "r11") \
                         SP_INTEGER_OUT(12, "r12", "lr") \
                         "add sp, #12\n\t" \
                         "pop {r4-r7}\n\t" \
                         "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t" \
                         "pop {r4-r7, pc}\n\t"); \
    }

SP_INTEGER_SUMS(sp_integer_near, 0, 4, 8, 12, 16, 20, 24, 28, 4, 32)
SP_INTEGER_SUMS(sp_integer_far, 0, 16, 32, 48, 64, 80, 96, 112, 16, 128)
/* clang-format on */

static inline void sp_integer_sums(const int32_t *x, const int32_t *w, int32_t step, int32_t steps, int32_t up,
                                   int32_t *sums)
{
    if (step == 1)
        sp_integer_near(x, w, steps, up, sums);
    else
        sp_integer_far(x, w, steps, up, sums);
}

#undef SP_INTEGER_ROW
#undef SP_INTEGER_STEP
#undef SP_INTEGER_OUT
#undef SP_INTEGER_SUMS

#ifdef __cplusplus
}
#endif
#endif
