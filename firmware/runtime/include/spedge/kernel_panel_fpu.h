/* kernel_panel.h by the FPU of an Armv7E-M or Armv8-M: 16 sums stay in s0-s15, and one instruction loads eight factors:
 * 1.06 instructions for a multiply-accumulate. Written out, because compilers load one register at a time. */
#ifndef SP_KERNEL_PANEL_FPU_H_INCLUDED
#define SP_KERNEL_PANEL_FPU_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

/* Assembly, laid out by hand. */
/* clang-format off */
#define SP_K_FPU_LOW "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15"
#define SP_K_FPU_HIGH \
    "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31"
#define SP_K_FPU_ALL SP_K_FPU_LOW, SP_K_FPU_HIGH, "cc", "memory"

/* Four registers d0.. += x0.. y0.. */
#define SP_K_FPU_FMA(d0, d1, d2, d3, x0, x1, x2, x3, y0, y1, y2, y3) \
    "vfma.f32 s" #d0 ", s" #x0 ", s" #y0 "\n\t" \
    "vfma.f32 s" #d1 ", s" #x1 ", s" #y1 "\n\t" \
    "vfma.f32 s" #d2 ", s" #x2 ", s" #y2 "\n\t" \
    "vfma.f32 s" #d3 ", s" #x3 ", s" #y3 "\n\t"
#define SP_K_FPU_STEP(a0, a1, a2, a3, b0, b1, b2, b3) \
    SP_K_FPU_FMA(0, 1, 2, 3, a0, a0, a0, a0, b0, b1, b2, b3) \
    SP_K_FPU_FMA(4, 5, 6, 7, a1, a1, a1, a1, b0, b1, b2, b3) \
    SP_K_FPU_FMA(8, 9, 10, 11, a2, a2, a2, a2, b0, b1, b2, b3) \
    SP_K_FPU_FMA(12, 13, 14, 15, a3, a3, a3, a3, b0, b1, b2, b3)
#define SP_K_FPU_TWO_STEPS \
    "vldmia %[a]!, {s16-s23}\n\t" \
    "vldmia %[b]!, {s24-s31}\n\t" \
    SP_K_FPU_STEP(16, 17, 18, 19, 24, 25, 26, 27) \
    SP_K_FPU_STEP(20, 21, 22, 23, 28, 29, 30, 31)
#define SP_K_FPU_FOUR_STEPS SP_K_FPU_TWO_STEPS SP_K_FPU_TWO_STEPS
#define SP_K_FPU_EIGHT_STEPS SP_K_FPU_FOUR_STEPS SP_K_FPU_FOUR_STEPS
#define SP_K_FPU_STEPS \
    "cmp %[blocks], #0\n\t" \
    "beq 2f\n\t" \
    "1:\n\t" \
    SP_K_FPU_EIGHT_STEPS \
    "subs %[blocks], #1\n\t" \
    "bne 1b\n\t" \
    "2:\n\t" \
    "subs %[rest], #4\n\t" \
    "blt 5f\n\t" \
    SP_K_FPU_FOUR_STEPS \
    "subs %[rest], #4\n\t" \
    "5:\n\t" \
    "adds %[rest], #4\n\t" \
    "beq 4f\n\t" \
    "3:\n\t" \
    "subs %[rest], #1\n\t" \
    "vldmia %[a]!, {s16-s19}\n\t" \
    "vldmia %[b]!, {s24-s27}\n\t" \
    SP_K_FPU_STEP(16, 17, 18, 19, 24, 25, 26, 27) \
    "bne 3b\n\t" \
    "4:\n\t" \
    "vstmia %[sums], {s0-s15}\n\t"
#define SP_K_FPU_EACH(op) \
    op(0, 16) op(1, 17) op(2, 18) op(3, 19) op(4, 20) op(5, 21) op(6, 22) op(7, 23) \
    op(8, 24) op(9, 25) op(10, 26) op(11, 27) op(12, 28) op(13, 29) op(14, 30) op(15, 31)
#define SP_K_FPU_STORE(x, at) "vstr s" #x ", [%[out], #" #at "]\n\t"
#define SP_K_FPU_PLUS(d, x) "vadd.f32 s" #d ", s" #d ", s" #x "\n\t"
#define SP_K_FPU_START "vldmia %[start], {s0-s15}\n\t"
#define SP_K_FPU_START_PLUS \
    "vldmia %[x], {s0-s15}\n\t" \
    "vldmia %[start], {s16-s31}\n\t" SP_K_FPU_EACH(SP_K_FPU_PLUS)

/* A number of steps that the compiler knows, as of all linears: no tests, and sixteen steps a turn or more. */
#if defined(__OPTIMIZE__)
#define SP_K_FPU_KNOWN_IN(steps, turn) (__builtin_constant_p(steps) && (steps) > 0 && (steps) % (turn) == 0)
#else
#define SP_K_FPU_KNOWN_IN(steps, turn) 0
#endif
#define SP_K_FPU_SIXTEENS(steps) SP_K_FPU_KNOWN_IN(steps, 16)
#define SP_K_FPU_SIXTEEN_STEPS SP_K_FPU_EIGHT_STEPS SP_K_FPU_EIGHT_STEPS
#define SP_K_FPU_KNOWN(start, turn) \
    start "1:\n\t" turn \
    "subs %[blocks], #1\n\t" \
    "bne 1b\n\t" \
    "vstmia %[sums], {s0-s15}\n\t"
#define SP_K_FPU_SIXTEEN(start) start SP_K_FPU_EIGHT_STEPS SP_K_FPU_EIGHT_STEPS "vstmia %[sums], {s0-s15}\n\t"

/* One tile: what comes before its steps, and the operands that this has. */
#define SP_K_FPU_TILE(start_by, ...) \
    do { \
        int32_t blocks = steps >> 3, rest = steps & 7; \
        if (SP_K_FPU_SIXTEENS(steps)) { \
            blocks = steps >> 4; \
            __asm__ volatile(SP_K_FPU_KNOWN(start_by, SP_K_FPU_SIXTEEN_STEPS) \
                             : [a] "+r"(a), [b] "+r"(b), [blocks] "+r"(blocks) \
                             : __VA_ARGS__, [sums] "r"(sums) \
                             : SP_K_FPU_ALL); \
        } else if (SP_K_FPU_KNOWN_IN(steps, 8)) { \
            __asm__ volatile(SP_K_FPU_KNOWN(start_by, SP_K_FPU_EIGHT_STEPS) \
                             : [a] "+r"(a), [b] "+r"(b), [blocks] "+r"(blocks) \
                             : __VA_ARGS__, [sums] "r"(sums) \
                             : SP_K_FPU_ALL); \
        } else { \
            __asm__ volatile(start_by SP_K_FPU_STEPS \
                             : [a] "+r"(a), [b] "+r"(b), [blocks] "+r"(blocks), [rest] "+r"(rest) \
                             : __VA_ARGS__, [sums] "r"(sums) \
                             : SP_K_FPU_ALL); \
        } \
    } while (0)

static inline void sp_k_panel_sums(const float *start, const float *a, const float *b, int32_t steps, float *sums)
{
    if (SP_K_FPU_SIXTEENS(steps) && steps == 16)
        __asm__ volatile(SP_K_FPU_SIXTEEN(SP_K_FPU_START)
                         : [a] "+r"(a), [b] "+r"(b)
                         : [start] "r"(start), [sums] "r"(sums)
                         : SP_K_FPU_ALL);
    else
        SP_K_FPU_TILE(SP_K_FPU_START, [start] "r"(start));
}

static inline void sp_k_panel_plus(const float *start, const float *x, const float *a, const float *b, int32_t steps,
                                   float *sums)
{
    SP_K_FPU_TILE(SP_K_FPU_START_PLUS, [start] "r"(start), [x] "r"(x));
}

/* Tiles one after the other, whose numbers of steps the compiler knows. */
#define SP_K_PANEL_TILES
#define SP_K_PANEL_LOOPS
#define SP_K_FPU_SHORT_TILES(start, ...) \
    do { \
        const float *at = x; \
        __asm__ volatile(start SP_K_FPU_EIGHT_STEPS SP_K_FPU_EIGHT_STEPS "vstmia %[sums]!, {s0-s15}\n\t" \
                         : [sums] "+r"(sums), [a] "+r"(w), [b] "+r"(at), __VA_ARGS__ \
                         : \
                         : SP_K_FPU_ALL); \
    } while (--tiles > 0)
#define SP_K_FPU_LONG_TILES(start, turn, turns, ...) \
    do { \
        const float *at = x; \
        int32_t blocks = turns; \
        __asm__ volatile(start \
                         "1:\n\t" turn \
                         "subs %[blocks], #1\n\t" \
                         "bne 1b\n\t" \
                         "vstmia %[sums]!, {s0-s15}\n\t" \
                         : [sums] "+r"(sums), [a] "+r"(w), [b] "+r"(at), [blocks] "+r"(blocks), __VA_ARGS__ \
                         : \
                         : SP_K_FPU_ALL); \
    } while (--tiles > 0)
#define SP_K_FPU_START_NEXT "vldmia %[start]!, {s0-s15}\n\t"
#define SP_K_FPU_START_PLUS_NEXT \
    "vldmia %[x]!, {s0-s15}\n\t" \
    "vldmia %[start]!, {s16-s31}\n\t" SP_K_FPU_EACH(SP_K_FPU_PLUS)

static inline void sp_k_panel_tiles(const float *start, int32_t apart, const float *w, const float *x, int32_t steps,
                                    int32_t tiles, float *sums)
{
    if (tiles <= 0)
        return;
    if (SP_K_FPU_KNOWN_IN(steps, 32) && apart == 16) {
        SP_K_FPU_LONG_TILES(SP_K_FPU_START_NEXT, SP_K_FPU_SIXTEEN_STEPS SP_K_FPU_SIXTEEN_STEPS, steps >> 5, [start] "+r"(start));
    } else if (SP_K_FPU_SIXTEENS(steps) && apart == 16) {
        if (steps == 16)
            SP_K_FPU_SHORT_TILES(SP_K_FPU_START_NEXT, [start] "+r"(start));
        else
            SP_K_FPU_LONG_TILES(SP_K_FPU_START_NEXT, SP_K_FPU_SIXTEEN_STEPS, steps >> 4, [start] "+r"(start));
    } else if (SP_K_FPU_SIXTEENS(steps) && apart == 0) {
        if (steps == 16)
            SP_K_FPU_SHORT_TILES(SP_K_FPU_START, [start] "+r"(start));
        else
            SP_K_FPU_LONG_TILES(SP_K_FPU_START, SP_K_FPU_SIXTEEN_STEPS, steps >> 4, [start] "+r"(start));
    } else if (SP_K_FPU_KNOWN_IN(steps, 8) && apart == 16) {
        SP_K_FPU_LONG_TILES(SP_K_FPU_START_NEXT, SP_K_FPU_EIGHT_STEPS, steps >> 3, [start] "+r"(start));
    } else {
        for (; tiles > 0; --tiles, start += apart, w += 4 * steps, sums += 16)
            sp_k_panel_sums(start, w, x, steps, sums);
    }
}

static inline void sp_k_panel_tiles_plus(const float *start, const float *plus, const float *w, const float *x,
                                         int32_t steps, int32_t tiles, float *sums)
{
    if (tiles <= 0)
        return;
    if (SP_K_FPU_KNOWN_IN(steps, 32)) {
        SP_K_FPU_LONG_TILES(SP_K_FPU_START_PLUS_NEXT, SP_K_FPU_SIXTEEN_STEPS SP_K_FPU_SIXTEEN_STEPS, steps >> 5, [start] "+r"(start), [x] "+r"(plus));
    } else if (SP_K_FPU_SIXTEENS(steps)) {
        if (steps == 16)
            SP_K_FPU_SHORT_TILES(SP_K_FPU_START_PLUS_NEXT, [start] "+r"(start), [x] "+r"(plus));
        else
            SP_K_FPU_LONG_TILES(SP_K_FPU_START_PLUS_NEXT, SP_K_FPU_SIXTEEN_STEPS, steps >> 4, [start] "+r"(start), [x] "+r"(plus));
    } else {
        for (; tiles > 0; --tiles, start += 16, plus += 16, w += 4 * steps, sums += 16)
            sp_k_panel_plus(start, plus, w, x, steps, sums);
    }
}

/* Four values a register each: op on all. */
#define SP_K_FPU_FOUR(op, d0, d1, d2, d3, x0, x1, x2, x3, y0, y1, y2, y3) \
    op " s" #d0 ", s" #x0 ", s" #y0 "\n\t" \
    op " s" #d1 ", s" #x1 ", s" #y1 "\n\t" \
    op " s" #d2 ", s" #x2 ", s" #y2 "\n\t" \
    op " s" #d3 ", s" #x3 ", s" #y3 "\n\t"
#define SP_K_FPU_FOUR_OF_TWO(op, d0, d1, d2, d3, x0, x1, x2, x3) \
    op " s" #d0 ", s" #x0 "\n\t" \
    op " s" #d1 ", s" #x1 "\n\t" \
    op " s" #d2 ", s" #x2 "\n\t" \
    op " s" #d3 ", s" #x3 "\n\t"
/* s0-s15 are the 4 x 4 numbers of s16-s31 turned. */
#define SP_K_FPU_MOVE4(d0, d1, d2, d3, x0, x1, x2, x3) SP_K_FPU_FOUR_OF_TWO("vmov.f32", d0, d1, d2, d3, x0, x1, x2, x3)
#define SP_K_FPU_START_TURNED \
    "vldmia %[start], {s16-s31}\n\t" \
    SP_K_FPU_MOVE4(0, 1, 2, 3, 16, 20, 24, 28) SP_K_FPU_MOVE4(4, 5, 6, 7, 17, 21, 25, 29) \
    SP_K_FPU_MOVE4(8, 9, 10, 11, 18, 22, 26, 30) SP_K_FPU_MOVE4(12, 13, 14, 15, 19, 23, 27, 31)

static inline void sp_k_panel_turned(const float *x, const float *a, const float *b, int32_t steps, float *sums)
{
    SP_K_FPU_TILE(SP_K_FPU_START_TURNED, [start] "r"(x));
}

/* Of the first row of a tile, of two and of three: in columns c they lie in s4c to s4c+2, in rows from s0, s4 and s8 on. */
#define SP_K_PANEL_FEW 3
#define SP_K_FPU_COLUMNS_OF_1(w0, w1, w2, w3, x0, x1, x2) SP_K_FPU_FMA(0, 4, 8, 12, w0, w1, w2, w3, x0, x0, x0, x0)
#define SP_K_FPU_COLUMNS_OF_2(w0, w1, w2, w3, x0, x1, x2) \
    SP_K_FPU_COLUMNS_OF_1(w0, w1, w2, w3, x0, x1, x2) SP_K_FPU_FMA(1, 5, 9, 13, w0, w1, w2, w3, x1, x1, x1, x1)
#define SP_K_FPU_COLUMNS_OF_3(w0, w1, w2, w3, x0, x1, x2) \
    SP_K_FPU_COLUMNS_OF_2(w0, w1, w2, w3, x0, x1, x2) SP_K_FPU_FMA(2, 6, 10, 14, w0, w1, w2, w3, x2, x2, x2, x2)
#define SP_K_FPU_ROWS_OF_1(w0, w1, w2, w3, x0, x1, x2) SP_K_FPU_FMA(0, 1, 2, 3, w0, w1, w2, w3, x0, x0, x0, x0)
#define SP_K_FPU_ROWS_OF_2(w0, w1, w2, w3, x0, x1, x2) \
    SP_K_FPU_ROWS_OF_1(w0, w1, w2, w3, x0, x1, x2) SP_K_FPU_FMA(4, 5, 6, 7, w0, w1, w2, w3, x1, x1, x1, x1)
#define SP_K_FPU_ROWS_OF_3(w0, w1, w2, w3, x0, x1, x2) \
    SP_K_FPU_ROWS_OF_2(w0, w1, w2, w3, x0, x1, x2) SP_K_FPU_FMA(8, 9, 10, 11, w0, w1, w2, w3, x2, x2, x2, x2)
#define SP_K_FPU_TWO_OF_FEW(step) \
    "vldmia %[w]!, {s16-s23}\n\t" \
    "vldmia %[x]!, {s24-s31}\n\t" \
    step(16, 17, 18, 19, 24, 25, 26) step(20, 21, 22, 23, 28, 29, 30)
#define SP_K_FPU_FEW(step) \
    do { \
        const float *at = x; \
        int32_t blocks = steps >> 3, rest = steps & 7; \
        __asm__ volatile(SP_K_FPU_START \
                         "cmp %[blocks], #0\n\t" \
                         "beq 2f\n\t" \
                         "1:\n\t" \
                         "subs %[blocks], #1\n\t" \
                         SP_K_FPU_TWO_OF_FEW(step) SP_K_FPU_TWO_OF_FEW(step) \
                         SP_K_FPU_TWO_OF_FEW(step) SP_K_FPU_TWO_OF_FEW(step) \
                         "bne 1b\n\t" \
                         "2:\n\t" \
                         "cmp %[rest], #0\n\t" \
                         "beq 4f\n\t" \
                         "3:\n\t" \
                         "subs %[rest], #1\n\t" \
                         "vldmia %[w]!, {s16-s19}\n\t" \
                         "vldmia %[x]!, {s24-s27}\n\t" \
                         step(16, 17, 18, 19, 24, 25, 26) \
                         "bne 3b\n\t" \
                         "4:\n\t" \
                         "vstmia %[sums]!, {s0-s15}\n\t" \
                         : [w] "+r"(w), [x] "+r"(at), [blocks] "+r"(blocks), [rest] "+r"(rest), [sums] "+r"(sums) \
                         : [start] "r"(start) \
                         : SP_K_FPU_ALL); \
    } while (0)

SP_K_APART void sp_k_panel_few_tiles(const float *start, int32_t apart, const float *w, const float *x, int32_t steps,
                                     int32_t tiles, int32_t rows, float *sums)
{
    for (; tiles > 0; --tiles, start += apart) {
        if (rows == 1)
            SP_K_FPU_FEW(SP_K_FPU_COLUMNS_OF_1);
        else if (rows == 2)
            SP_K_FPU_FEW(SP_K_FPU_COLUMNS_OF_2);
        else
            SP_K_FPU_FEW(SP_K_FPU_COLUMNS_OF_3);
    }
}

SP_K_APART void sp_k_panel_few_rows(const float *start, const float *w, const float *x, int32_t steps, int32_t rows,
                                    float *sums)
{
    if (rows == 1)
        SP_K_FPU_FEW(SP_K_FPU_ROWS_OF_1);
    else if (rows == 2)
        SP_K_FPU_FEW(SP_K_FPU_ROWS_OF_2);
    else
        SP_K_FPU_FEW(SP_K_FPU_ROWS_OF_3);
}

#define SP_K_FPU_ROW(x, w0, w1, w2, w3, w4, w5, w6, w7) \
    SP_K_FPU_FMA(0, 1, 2, 3, x, x, x, x, w0, w1, w2, w3) \
    SP_K_FPU_FMA(4, 5, 6, 7, x, x, x, x, w4, w5, w6, w7)
#define SP_K_FPU_TWO_OF_ROW(x) \
    "vldmia %[w]!, {s8-s23}\n\t" \
    x \
    SP_K_FPU_ROW(24, 8, 9, 10, 11, 12, 13, 14, 15) \
    SP_K_FPU_ROW(25, 16, 17, 18, 19, 20, 21, 22, 23)
#define SP_K_FPU_ROWS(one, two) \
    do { \
        int32_t blocks = steps >> 3, rest = steps & 7; \
        __asm__ volatile("vldmia %[sums], {s0-s7}\n\t" \
                         "cmp %[blocks], #0\n\t" \
                         "beq 2f\n\t" \
                         "1:\n\t" \
                         "subs %[blocks], #1\n\t" \
                         SP_K_FPU_TWO_OF_ROW(two) SP_K_FPU_TWO_OF_ROW(two) \
                         SP_K_FPU_TWO_OF_ROW(two) SP_K_FPU_TWO_OF_ROW(two) \
                         "bne 1b\n\t" \
                         "2:\n\t" \
                         "cmp %[rest], #0\n\t" \
                         "beq 4f\n\t" \
                         "3:\n\t" \
                         "subs %[rest], #1\n\t" \
                         "vldmia %[w]!, {s8-s15}\n\t" \
                         one \
                         SP_K_FPU_ROW(24, 8, 9, 10, 11, 12, 13, 14, 15) \
                         "bne 3b\n\t" \
                         "4:\n\t" \
                         "vstmia %[sums], {s0-s7}\n\t" \
                         : [x] "+r"(x), [w] "+r"(w), [blocks] "+r"(blocks), [rest] "+r"(rest) \
                         : [sums] "r"(sums), [bytes] "r"(bytes) \
                         : SP_K_FPU_ALL); \
    } while (0)
#define SP_K_FPU_NEXT_APART(x) "vldr s" #x ", [%[x]]\n\tadd %[x], %[bytes]\n\t"

static inline void sp_k_row(const float *x, int32_t apart, const float *w, int32_t steps, float *sums)
{
    const int32_t bytes = apart * (int32_t)sizeof *x;
    if (apart == 1)
        SP_K_FPU_ROWS("vldmia %[x]!, {s24}\n\t", "vldmia %[x]!, {s24-s25}\n\t");
    else
        SP_K_FPU_ROWS(SP_K_FPU_NEXT_APART(24), SP_K_FPU_NEXT_APART(24) SP_K_FPU_NEXT_APART(25));
}
/* clang-format on */

#ifdef __cplusplus
}
#endif

#include "spedge/kernel_panel_fpu_each.h"

#endif
