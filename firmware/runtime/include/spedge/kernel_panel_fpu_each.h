/* kernel_panel_fpu.h, on: what is done with each number of a panel, and what moves panels. */
#ifndef SP_KERNEL_PANEL_FPU_EACH_H_INCLUDED
#define SP_KERNEL_PANEL_FPU_EACH_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
#if defined(SP_K_FAST_MAX)
#define SP_K_FPU_MAX(d, x) "vmaxnm.f32 s" #d ", s" #d ", s" #x "\n\t"

static inline void sp_k_panel_top(const float *scores, int32_t tiles, float *top)
{
    __asm__ volatile("vldmia %[scores], {s16-s19}\n\t"
                     "1:\n\t"
                     "vldmia %[scores]!, {s0-s15}\n\t"
                     "subs %[tiles], #1\n\t"
                     SP_K_FPU_MAX(16, 0) SP_K_FPU_MAX(17, 1) SP_K_FPU_MAX(18, 2) SP_K_FPU_MAX(19, 3)
                     SP_K_FPU_MAX(16, 4) SP_K_FPU_MAX(17, 5) SP_K_FPU_MAX(18, 6) SP_K_FPU_MAX(19, 7)
                     SP_K_FPU_MAX(16, 8) SP_K_FPU_MAX(17, 9) SP_K_FPU_MAX(18, 10) SP_K_FPU_MAX(19, 11)
                     SP_K_FPU_MAX(16, 12) SP_K_FPU_MAX(17, 13) SP_K_FPU_MAX(18, 14) SP_K_FPU_MAX(19, 15)
                     "bne 1b\n\t"
                     "vstmia %[top], {s16-s19}\n\t"
                     : [scores] "+r"(scores), [tiles] "+r"(tiles)
                     : [top] "r"(top)
                     : SP_K_FPU_ALL);
}
#else
#define SP_K_FPU_MAX(d, x) \
    "vcmp.f32 s" #d ", s" #x "\n\t" \
    "vmrs APSR_nzcv, fpscr\n\t" \
    "it lt\n\t" /* or not a number */ \
    "vmovlt.f32 s" #d ", s" #x "\n\t"
#define sp_k_panel_top sp_k_panel_top_c
#endif

/* The rest of a key's turn, and of the loop: the cubics of the entries n0-n3 in s4-s7 are added to s20-s23 and take their
 * scores' places. */
#define SP_K_FPU_POWERS \
    "add %[n0], %[zero], %[n0], lsl #4\n\t" \
    "add %[n1], %[zero], %[n1], lsl #4\n\t" \
    "add %[n2], %[zero], %[n2], lsl #4\n\t" \
    "add %[n3], %[zero], %[n3], lsl #4\n\t" \
    "vldmia %[n0], {s8-s11}\n\t" \
    "vldmia %[n1], {s12-s15}\n\t" \
    "vldmia %[n2], {s24-s27}\n\t" \
    "vldmia %[n3], {s28-s31}\n\t" \
    SP_K_FPU_FMA(10, 14, 26, 30, 11, 15, 27, 31, 4, 5, 6, 7) \
    SP_K_FPU_FMA(9, 13, 25, 29, 10, 14, 26, 30, 4, 5, 6, 7) \
    SP_K_FPU_FMA(8, 12, 24, 28, 9, 13, 25, 29, 4, 5, 6, 7) \
    SP_K_FPU_FOUR("vadd.f32", 20, 21, 22, 23, 20, 21, 22, 23, 8, 12, 24, 28) \
    "subs %[keys], #1\n\t" \
    "vstmia %[scores]!, {s8}\n\t" \
    "vstmia %[scores]!, {s12}\n\t" \
    "vstmia %[scores]!, {s24}\n\t" \
    "vstmia %[scores]!, {s28}\n\t" \
    "bne 1b\n\t" \
    "vstmia %[total], {s20-s23}\n\t"

static inline void sp_k_panel_powers(float *scores, int32_t keys, const float *shift, const float *table, float *total)
{
    const float limit = SP_K_MAGIC - (SP_K_EXP2_ENTRIES - 1);
    const float *const last = table + 4 * (SP_K_EXP2_ENTRIES - 1);
    const uintptr_t zero = (uintptr_t)last - (0x4b400000u << 4); /* the bits of SP_K_MAGIC, as entries */
    int32_t n0, n1, n2, n3;
    __asm__ volatile("vldmia %[shift], {s16-s19}\n\t"
                     "vldr s0, [%[limit]]\n\t"
                     "vsub.f32 s20, s0, s0\n\t"
                     "vmov.f32 s21, s20\n\t"
                     "vmov.f32 s22, s20\n\t"
                     "vmov.f32 s23, s20\n\t"
                     "1:\n\t"
                     "vldmia %[scores], {s4-s7}\n\t"
                     SP_K_FPU_FOUR("vadd.f32", 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19)
                     SP_K_FPU_MAX(8, 0) SP_K_FPU_MAX(9, 0) SP_K_FPU_MAX(10, 0) SP_K_FPU_MAX(11, 0)
                     "vmov %[n0], %[n1], s8, s9\n\t"
                     "vmov %[n2], %[n3], s10, s11\n\t"
                     SP_K_FPU_FOUR("vsub.f32", 8, 9, 10, 11, 8, 9, 10, 11, 16, 17, 18, 19)
                     SP_K_FPU_FOUR("vsub.f32", 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 11)
                     SP_K_FPU_POWERS
                     : [scores] "+r"(scores), [keys] "+r"(keys), [n0] "=&r"(n0), [n1] "=&r"(n1), [n2] "=&r"(n2),
                       [n3] "=&r"(n3)
                     : [zero] "r"(zero), [shift] "r"(shift), [limit] "r"(&limit), [total] "r"(total)
                     : SP_K_FPU_ALL);
}

/* An even and an odd column at a time, each with its own code in the loop; a last one alone. */
#define SP_K_FPU_COLUMNS(start, one, two, end) \
    start \
    "lsrs %[left], #1\n\t" \
    "bcc 1f\n\t" \
    one \
    "1:\n\t" \
    "cmp %[left], #0\n\t" \
    "beq 3f\n\t" \
    "2:\n\t" \
    "subs %[left], #1\n\t" \
    two \
    "bne 2b\n\t" \
    "3:\n\t" \
    end

/* The scores x0.. of a key become powers; r0..: they plus s16, rounded. */
#define SP_K_FPU_POWER_OF(n, i, rounded) \
    "ubfx %[" #i "], %[" #n "], #0, #10\n\t" \
    "vsub.f32 s" #rounded ", s" #rounded ", s17\n\t" \
    "ldr %[" #i "], [%[table], %[" #i "], lsl #2]\n\t"
#define SP_K_FPU_POWERS_OF_KEY(x0, x1, x2, x3, r0, r1, r2, r3) \
    "vmov %[n0], %[n1], s" #r0 ", s" #r1 "\n\t" \
    "vmov %[n2], %[n3], s" #r2 ", s" #r3 "\n\t" \
    SP_K_FPU_POWER_OF(n0, i0, r0) SP_K_FPU_POWER_OF(n1, i1, r1) \
    SP_K_FPU_POWER_OF(n2, i2, r2) SP_K_FPU_POWER_OF(n3, i3, r3) \
    "add %[i0], %[i0], %[n0], lsl #13\n\t" \
    "vsub.f32 s" #x0 ", s" #x0 ", s" #r0 "\n\t" \
    "add %[i1], %[i1], %[n1], lsl #13\n\t" \
    "vsub.f32 s" #x1 ", s" #x1 ", s" #r1 "\n\t" \
    "add %[i2], %[i2], %[n2], lsl #13\n\t" \
    "vsub.f32 s" #x2 ", s" #x2 ", s" #r2 "\n\t" \
    "add %[i3], %[i3], %[n3], lsl #13\n\t" \
    "vsub.f32 s" #x3 ", s" #x3 ", s" #r3 "\n\t" \
    "vmov s" #r0 ", s" #r1 ", %[i0], %[i1]\n\t" \
    "vmov s" #r2 ", s" #r3 ", %[i2], %[i3]\n\t" \
    SP_K_FPU_FOUR("vmul.f32", x0, x1, x2, x3, x0, x1, x2, x3, r0, r1, r2, r3)
#define SP_K_FPU_ADD_KEY(x0, x1, x2, x3) SP_K_FPU_FOUR("vadd.f32", 20, 21, 22, 23, 20, 21, 22, 23, x0, x1, x2, x3)

static inline void sp_k_panel_powers_within(float *scores, int32_t keys, const float *table, float *total)
{
    int32_t n0, n1, n2, n3, i0, i1, i2, i3;
    total[0] = SP_K_MAGIC - SP_K_POWERS_MIDDLE;
    total[1] = SP_K_MAGIC;
    __asm__ volatile(SP_K_FPU_COLUMNS(
                         "vldmia %[total], {s16-s17}\n\t"
                         "vsub.f32 s20, s16, s16\n\t"
                         "vmov.f32 s21, s20\n\t"
                         "vmov.f32 s22, s20\n\t"
                         "vmov.f32 s23, s20\n\t",
                         "vldmia %[scores], {s0-s3}\n\t"
                         SP_K_FPU_FOUR("vadd.f32", 8, 9, 10, 11, 0, 1, 2, 3, 16, 16, 16, 16)
                         SP_K_FPU_POWERS_OF_KEY(0, 1, 2, 3, 8, 9, 10, 11)
                         SP_K_FPU_ADD_KEY(0, 1, 2, 3)
                         "vstmia %[scores]!, {s0-s3}\n\t",
                         "vldmia %[scores], {s0-s7}\n\t"
                         SP_K_FPU_FOUR("vadd.f32", 8, 9, 10, 11, 0, 1, 2, 3, 16, 16, 16, 16)
                         SP_K_FPU_FOUR("vadd.f32", 12, 13, 14, 15, 4, 5, 6, 7, 16, 16, 16, 16)
                         SP_K_FPU_POWERS_OF_KEY(0, 1, 2, 3, 8, 9, 10, 11)
                         SP_K_FPU_POWERS_OF_KEY(4, 5, 6, 7, 12, 13, 14, 15)
                         SP_K_FPU_ADD_KEY(0, 1, 2, 3)
                         SP_K_FPU_ADD_KEY(4, 5, 6, 7)
                         "vstmia %[scores]!, {s0-s7}\n\t",
                         "vstmia %[total], {s20-s23}\n\t")
                     : [scores] "+r"(scores), [left] "+r"(keys), [n0] "=&r"(n0), [n1] "=&r"(n1), [n2] "=&r"(n2),
                       [n3] "=&r"(n3), [i0] "=&r"(i0), [i1] "=&r"(i1), [i2] "=&r"(i2), [i3] "=&r"(i3)
                     : [table] "r"(table), [total] "r"(total)
                     : SP_K_FPU_ALL);
}

static inline void sp_k_panel_scale(float *sums, const float *by)
{
    __asm__ volatile("vldmia %[by], {s16-s19}\n\t"
                     "vldmia %[sums], {s0-s15}\n\t"
                     SP_K_FPU_FOUR("vmul.f32", 0, 1, 2, 3, 0, 1, 2, 3, 16, 17, 18, 19)
                     SP_K_FPU_FOUR("vmul.f32", 4, 5, 6, 7, 4, 5, 6, 7, 16, 17, 18, 19)
                     SP_K_FPU_FOUR("vmul.f32", 8, 9, 10, 11, 8, 9, 10, 11, 16, 17, 18, 19)
                     SP_K_FPU_FOUR("vmul.f32", 12, 13, 14, 15, 12, 13, 14, 15, 16, 17, 18, 19)
                     "vstmia %[sums], {s0-s15}\n\t"
                     :
                     : [sums] "r"(sums), [by] "r"(by)
                     : SP_K_FPU_ALL);
}

/* One key: the weights of four heads, two columns of its values. */
#define SP_K_FPU_KEY(w0, w1, w2, w3, v0, v1) \
    SP_K_FPU_FMA(0, 1, 2, 3, w0, w0, w1, w1, v0, v1, v0, v1) \
    SP_K_FPU_FMA(4, 5, 6, 7, w2, w2, w3, w3, v0, v1, v0, v1)

static inline void sp_k_panel_mixtures(const float *weights, const float *values, int32_t tiles, int32_t stride,
                                       float *sums)
{
    __asm__ volatile("vmov.f32 s0, #1.0\n\t"
                     "vsub.f32 s0, s0, s0\n\t"
                     "vmov.f32 s1, s0\n\t"
                     "vmov.f32 s2, s0\n\t"
                     "vmov.f32 s3, s0\n\t"
                     "vmov.f32 s4, s0\n\t"
                     "vmov.f32 s5, s0\n\t"
                     "vmov.f32 s6, s0\n\t"
                     "vmov.f32 s7, s0\n\t"
                     "1:\n\t"
                     "vldmia %[weights]!, {s8-s23}\n\t"
                     "vldmia %[values], {s24-s31}\n\t"
                     "add %[values], %[stride]\n\t"
                     "subs %[tiles], #1\n\t"
                     SP_K_FPU_KEY(8, 9, 10, 11, 24, 28)
                     SP_K_FPU_KEY(12, 13, 14, 15, 25, 29)
                     SP_K_FPU_KEY(16, 17, 18, 19, 26, 30)
                     SP_K_FPU_KEY(20, 21, 22, 23, 27, 31)
                     "bne 1b\n\t"
                     "vstmia %[sums], {s0-s7}\n\t"
                     : [weights] "+r"(weights), [values] "+r"(values), [tiles] "+r"(tiles)
                     : [stride] "r"(stride * (int32_t)sizeof *values), [sums] "r"(sums)
                     : SP_K_FPU_ALL);
}

/* Four numbers x0..: the squares of their entries, which are stored. What lies past the table's ends goes by the last of its
 * entries if `limit` says so. */
#define SP_K_FPU_GELU_LIMIT \
    "ssat %[n0], #9, %[n0]\n\t" \
    "ssat %[n1], #9, %[n1]\n\t" \
    "ssat %[n2], #9, %[n2]\n\t" \
    "ssat %[n3], #9, %[n3]\n\t"
#define SP_K_FPU_GELU_OF(limit, to, x0, x1, x2, x3, a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3) \
    SP_K_FPU_FOUR_OF_TWO("vcvtr.s32.f32", a0, a1, a2, a3, x0, x1, x2, x3) \
    "vmov %[n0], %[n1], s" #a0 ", s" #a1 "\n\t" \
    "vmov %[n2], %[n3], s" #a2 ", s" #a3 "\n\t" \
    limit \
    "add %[n0], %[zero], %[n0], lsl #4\n\t" \
    "add %[n1], %[zero], %[n1], lsl #4\n\t" \
    "add %[n2], %[zero], %[n2], lsl #4\n\t" \
    "add %[n3], %[zero], %[n3], lsl #4\n\t" \
    "vldmia %[n0], {s" #a0 "-s" #a3 "}\n\t" \
    "vldmia %[n1], {s" #b0 "-s" #b3 "}\n\t" \
    "vldmia %[n2], {s" #c0 "-s" #c3 "}\n\t" \
    "vldmia %[n3], {s" #d0 "-s" #d3 "}\n\t" \
    SP_K_FPU_FOUR("vadd.f32", x0, x1, x2, x3, x0, x1, x2, x3, a0, b0, c0, d0) \
    SP_K_FPU_FMA(a2, b2, c2, d2, a3, b3, c3, d3, x0, x1, x2, x3) \
    SP_K_FPU_FMA(a1, b1, c1, d1, a2, b2, c2, d2, x0, x1, x2, x3) \
    "vstmia %[" #to "]!, {s" #a1 "}\n\t" \
    "vstmia %[" #to "]!, {s" #b1 "}\n\t" \
    "vstmia %[" #to "]!, {s" #c1 "}\n\t" \
    "vstmia %[" #to "]!, {s" #d1 "}\n\t"
#define SP_K_FPU_GELU_FOUR(limit, x0, x1, x2, x3) \
    SP_K_FPU_GELU_OF(limit, x, x0, x1, x2, x3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define SP_K_FPU_GELUS(limit) \
    do { \
        int32_t n0, n1, n2, n3; \
        __asm__ volatile(SP_K_FPU_COLUMNS( \
                             "", \
                             "vldmia %[x], {s16-s19}\n\t" \
                             SP_K_FPU_GELU_FOUR(limit, 16, 17, 18, 19), \
                             "vldmia %[x], {s16-s23}\n\t" \
                             SP_K_FPU_GELU_FOUR(limit, 16, 17, 18, 19) \
                             SP_K_FPU_GELU_FOUR(limit, 20, 21, 22, 23), \
                             "") \
                         : [x] "+r"(x), [left] "+r"(columns), [n0] "=&r"(n0), [n1] "=&r"(n1), [n2] "=&r"(n2), \
                           [n3] "=&r"(n3) \
                         : [zero] "r"(zero) \
                         : SP_K_FPU_ALL); \
    } while (0)

/* Of a tile that lies in s0-s15, in the place of its sums. */
#define SP_K_FPU_GELU_QUARTER(limit, x0, x1, x2, x3) \
    SP_K_FPU_GELU_OF(limit, sums, x0, x1, x2, x3, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)
#define SP_K_FPU_GELU_TILES(limit, turn, turns) \
    do { \
        const float *at = x; \
        int32_t blocks = turns, n0, n1, n2, n3; \
        __asm__ volatile(SP_K_FPU_START_NEXT \
                         "1:\n\t" turn \
                         "subs %[blocks], #1\n\t" \
                         "bne 1b\n\t" \
                         SP_K_FPU_GELU_QUARTER(limit, 0, 1, 2, 3) \
                         SP_K_FPU_GELU_QUARTER(limit, 4, 5, 6, 7) \
                         SP_K_FPU_GELU_QUARTER(limit, 8, 9, 10, 11) \
                         SP_K_FPU_GELU_QUARTER(limit, 12, 13, 14, 15) \
                         : [sums] "+r"(sums), [a] "+r"(w), [b] "+r"(at), [blocks] "+r"(blocks), [start] "+r"(start), \
                           [n0] "=&r"(n0), [n1] "=&r"(n1), [n2] "=&r"(n2), [n3] "=&r"(n3) \
                         : [zero] "r"(zero) \
                         : SP_K_FPU_ALL); \
    } while (--tiles > 0)

SP_K_INTO void sp_k_panel_gelu_columns(float *x, int32_t columns, const float *zero, int within)
{
    if (within)
        SP_K_FPU_GELUS("");
    else
        SP_K_FPU_GELUS(SP_K_FPU_GELU_LIMIT);
}

SP_K_INTO void sp_k_panel_tiles_gelu(const float *start, const float *w, const float *x, int32_t steps,
                                         int32_t tiles, const float *zero, int within, float *sums)
{
    if (tiles <= 0 || !SP_K_FPU_KNOWN_IN(steps, 32)) {
        sp_k_panel_tiles(start, 16, w, x, steps, tiles, sums);
        sp_k_panel_gelu_columns(sums, 4 * tiles, zero, within);
    } else if (within) {
        SP_K_FPU_GELU_TILES("", SP_K_FPU_SIXTEEN_STEPS SP_K_FPU_SIXTEEN_STEPS, steps >> 5);
    } else {
        SP_K_FPU_GELU_TILES(SP_K_FPU_GELU_LIMIT, SP_K_FPU_SIXTEEN_STEPS SP_K_FPU_SIXTEEN_STEPS, steps >> 5);
    }
}

static inline void sp_k_panel_gelu(float *x, const float *zero)
{
    int32_t n0, n1, n2, n3;
    __asm__ volatile("vldmia %[x], {s16-s19}\n\t"
                     SP_K_FPU_GELU_FOUR(SP_K_FPU_GELU_LIMIT, 16, 17, 18, 19)
                     : [x] "+r"(x), [n0] "=&r"(n0), [n1] "=&r"(n1), [n2] "=&r"(n2), [n3] "=&r"(n3)
                     : [zero] "r"(zero)
                     : SP_K_FPU_ALL);
}

static inline void sp_k_panel_norm(const float *x, int32_t width, float share, float epsilon, float *out)
{
    float mean[4] = {0.0f, 0.0f, 0.0f, 0.0f}, scale[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    const float *at = x;
    float *to = out;
    int32_t left = width;
    __asm__ volatile(SP_K_FPU_COLUMNS(
                         "vldmia %[sums], {s16-s19}\n\t",
                         "vldmia %[x]!, {s0-s3}\n\t"
                         SP_K_FPU_FOUR("vadd.f32", 16, 17, 18, 19, 16, 17, 18, 19, 0, 1, 2, 3),
                         "vldmia %[x]!, {s0-s7}\n\t"
                         SP_K_FPU_FOUR("vadd.f32", 16, 17, 18, 19, 16, 17, 18, 19, 0, 1, 2, 3)
                         SP_K_FPU_FOUR("vadd.f32", 16, 17, 18, 19, 16, 17, 18, 19, 4, 5, 6, 7),
                         "vstmia %[sums], {s16-s19}\n\t")
                     : [x] "+r"(at), [left] "+r"(left)
                     : [sums] "r"(mean)
                     : SP_K_FPU_ALL);
    for (int r = 0; r < 4; ++r) {
        mean[r] *= share;
    }
    at = x;
    left = width;
    __asm__ volatile(SP_K_FPU_COLUMNS(
                         "vldmia %[mean], {s20-s23}\n\t"
                         "vldmia %[sums], {s16-s19}\n\t",
                         "vldmia %[x]!, {s0-s3}\n\t"
                         SP_K_FPU_FOUR("vsub.f32", 0, 1, 2, 3, 0, 1, 2, 3, 20, 21, 22, 23)
                         "vstmia %[to]!, {s0-s3}\n\t"
                         SP_K_FPU_FMA(16, 17, 18, 19, 0, 1, 2, 3, 0, 1, 2, 3),
                         "vldmia %[x]!, {s0-s7}\n\t"
                         SP_K_FPU_FOUR("vsub.f32", 0, 1, 2, 3, 0, 1, 2, 3, 20, 21, 22, 23)
                         SP_K_FPU_FOUR("vsub.f32", 4, 5, 6, 7, 4, 5, 6, 7, 20, 21, 22, 23)
                         "vstmia %[to]!, {s0-s7}\n\t"
                         SP_K_FPU_FMA(16, 17, 18, 19, 0, 1, 2, 3, 0, 1, 2, 3)
                         SP_K_FPU_FMA(16, 17, 18, 19, 4, 5, 6, 7, 4, 5, 6, 7),
                         "vstmia %[sums], {s16-s19}\n\t")
                     : [x] "+r"(at), [to] "+r"(to), [left] "+r"(left)
                     : [mean] "r"(mean), [sums] "r"(scale)
                     : SP_K_FPU_ALL);
    for (int r = 0; r < 4; ++r) {
        scale[r] = 1.0f / SP_K_SQRT(scale[r] * share + epsilon);
    }
    left = width;
    __asm__ volatile(SP_K_FPU_COLUMNS(
                         "vldmia %[scale], {s16-s19}\n\t",
                         "vldmia %[out], {s0-s3}\n\t"
                         SP_K_FPU_FOUR("vmul.f32", 0, 1, 2, 3, 0, 1, 2, 3, 16, 17, 18, 19)
                         "vstmia %[out]!, {s0-s3}\n\t",
                         "vldmia %[out], {s0-s7}\n\t"
                         SP_K_FPU_FOUR("vmul.f32", 0, 1, 2, 3, 0, 1, 2, 3, 16, 17, 18, 19)
                         SP_K_FPU_FOUR("vmul.f32", 4, 5, 6, 7, 4, 5, 6, 7, 16, 17, 18, 19)
                         "vstmia %[out]!, {s0-s7}\n\t",
                         "")
                     : [out] "+r"(out), [left] "+r"(left)
                     : [scale] "r"(scale)
                     : SP_K_FPU_ALL);
}

/* Four columns a turn: of a width that leaves some the plain C takes these. */
#define SP_K_FPU_TWO_SUMS(x, width, term, plain, totals) \
    do { \
        const float *at = x; \
        int32_t blocks = (width) >> 2; \
        for (int r = 0; r < 4; ++r) \
            totals[r] = 0.0f; \
        if (blocks > 0) \
            __asm__ volatile("vldmia %[four], {s16-s19}\n\t" \
                             "vldmia %[four], {s20-s23}\n\t" \
                             "1:\n\t" \
                             "vldmia %[at]!, {s0-s15}\n\t" \
                             "subs %[blocks], #1\n\t" \
                             term(16, 17, 18, 19, 0, 1, 2, 3) term(20, 21, 22, 23, 4, 5, 6, 7) \
                             term(16, 17, 18, 19, 8, 9, 10, 11) term(20, 21, 22, 23, 12, 13, 14, 15) \
                             "bne 1b\n\t" \
                             SP_K_FPU_FOUR("vadd.f32", 16, 17, 18, 19, 16, 17, 18, 19, 20, 21, 22, 23) \
                             "vstmia %[four], {s16-s19}\n\t" \
                             : [at] "+r"(at), [blocks] "+r"(blocks) \
                             : [four] "r"(totals) \
                             : SP_K_FPU_ALL); \
        for (int32_t k = (width) & ~3; k < (width); ++k) \
            for (int r = 0; r < 4; ++r) \
                totals[r] = plain(x[4 * k + r], totals[r]); \
    } while (0)
#define SP_K_FPU_ADD_FOUR(d0, d1, d2, d3, x0, x1, x2, x3) \
    SP_K_FPU_FOUR("vadd.f32", d0, d1, d2, d3, d0, d1, d2, d3, x0, x1, x2, x3)
#define SP_K_FPU_SQUARE_FOUR(d0, d1, d2, d3, x0, x1, x2, x3) \
    SP_K_FPU_FMA(d0, d1, d2, d3, x0, x1, x2, x3, x0, x1, x2, x3)
/* out[k][r] = x[k][r] op by[r], the op on floats in C, too. */
#define SP_K_FPU_EACH_ROW(op, in_c, x, width, by, out) \
    do { \
        const float *at = x; \
        float *to = out; \
        int32_t blocks = (width) >> 2; \
        if (blocks > 0) \
            __asm__ volatile("vldmia %[four], {s16-s19}\n\t" \
                             "1:\n\t" \
                             "vldmia %[at]!, {s0-s15}\n\t" \
                             "subs %[blocks], #1\n\t" \
                             SP_K_FPU_FOUR(op, 0, 1, 2, 3, 0, 1, 2, 3, 16, 17, 18, 19) \
                             SP_K_FPU_FOUR(op, 4, 5, 6, 7, 4, 5, 6, 7, 16, 17, 18, 19) \
                             SP_K_FPU_FOUR(op, 8, 9, 10, 11, 8, 9, 10, 11, 16, 17, 18, 19) \
                             SP_K_FPU_FOUR(op, 12, 13, 14, 15, 12, 13, 14, 15, 16, 17, 18, 19) \
                             "vstmia %[to]!, {s0-s15}\n\t" \
                             "bne 1b\n\t" \
                             : [at] "+r"(at), [to] "+r"(to), [blocks] "+r"(blocks) \
                             : [four] "r"(by) \
                             : SP_K_FPU_ALL); \
        for (int32_t i = 4 * ((width) & ~3); i < 4 * (width); ++i) \
            out[i] = x[i] in_c by[i & 3]; \
    } while (0)

static inline void sp_k_panel_centre(float *x, int32_t width, float share)
{
    float mean[4];
    SP_K_FPU_TWO_SUMS(x, width, SP_K_FPU_ADD_FOUR, SP_K_PANEL_ITSELF, mean);
    for (int r = 0; r < 4; ++r)
        mean[r] *= share;
    SP_K_FPU_EACH_ROW("vsub.f32", -, x, width, mean, x);
}

static inline void sp_k_panel_norm_centred(const float *x, int32_t width, float share, float epsilon, float *out)
{
    float scale[4];
    SP_K_FPU_TWO_SUMS(x, width, SP_K_FPU_SQUARE_FOUR, SP_K_PANEL_SQUARE, scale);
    for (int r = 0; r < 4; ++r)
        scale[r] = 1.0f / SP_K_SQRT(scale[r] * share + epsilon);
    SP_K_FPU_EACH_ROW("vmul.f32", *, x, width, scale, out);
}

static inline void sp_k_panel_copy(const float *x, int32_t floats, float *out)
{
    int32_t blocks = floats >> 4;
    if (blocks > 0) {
        __asm__ volatile("1:\n\t"
                         "subs %[blocks], #1\n\t"
                         "vldmia %[x]!, {s0-s15}\n\t"
                         "vstmia %[out]!, {s0-s15}\n\t"
                         "bne 1b\n\t"
                         : [x] "+r"(x), [out] "+r"(out), [blocks] "+r"(blocks)
                         :
                         : SP_K_FPU_ALL);
    }
    sp_k_panel_copy_c(x, floats & 15, out);
}

/* Columns in fours; those that are left one by one. */
static inline void sp_k_panel_turn(const float *x, int32_t width, float *out)
{
    const float *r0 = x, *r1 = x + width, *r2 = x + 2 * width, *r3 = x + 3 * width;
    int32_t blocks = width >> 2;
    if (blocks > 0) {
        __asm__ volatile("1:\n\t"
                         "subs %[blocks], #1\n\t"
                         "vldmia %[r0]!, {s0-s3}\n\t"
                         "vldmia %[r1]!, {s4-s7}\n\t"
                         "vldmia %[r2]!, {s8-s11}\n\t"
                         "vldmia %[r3]!, {s12-s15}\n\t"
                         SP_K_FPU_STORE(0, 0) SP_K_FPU_STORE(4, 4) SP_K_FPU_STORE(8, 8) SP_K_FPU_STORE(12, 12)
                         SP_K_FPU_STORE(1, 16) SP_K_FPU_STORE(5, 20) SP_K_FPU_STORE(9, 24) SP_K_FPU_STORE(13, 28)
                         SP_K_FPU_STORE(2, 32) SP_K_FPU_STORE(6, 36) SP_K_FPU_STORE(10, 40) SP_K_FPU_STORE(14, 44)
                         SP_K_FPU_STORE(3, 48) SP_K_FPU_STORE(7, 52) SP_K_FPU_STORE(11, 56) SP_K_FPU_STORE(15, 60)
                         "add %[out], #64\n\t"
                         "bne 1b\n\t"
                         : [r0] "+r"(r0), [r1] "+r"(r1), [r2] "+r"(r2), [r3] "+r"(r3), [out] "+r"(out),
                           [blocks] "+r"(blocks)
                         :
                         : SP_K_FPU_ALL);
    }
    /* clang-format on */
    for (int32_t k = width & ~3; k < width; ++k, out += 4) {
        out[0] = *r0++;
        out[1] = *r1++;
        out[2] = *r2++;
        out[3] = *r3++;
    }
}

#ifdef __cplusplus
}
#endif
#endif
