/* kernel_panel.h by the vector instructions (MVE, Helium) of an Armv8.1-M core: a vector holds the four rows, or the
 * four columns, of a step. The same numbers as the plain C, but for those below 2^-126, which count as zero. */
#ifndef SP_KERNEL_PANEL_MVE_H_INCLUDED
#define SP_KERNEL_PANEL_MVE_H_INCLUDED

#include "spedge/kernel_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__clang__)
#define SP_K_MVE_NOT_UNROLLED _Pragma("clang loop unroll(disable)")
#else
#define SP_K_MVE_NOT_UNROLLED _Pragma("GCC unroll 1")
#endif

/* Two steps, 32 multiply-accumulates, in eleven instructions. Written out, because compilers load the scalars one by one. */
#define SP_K_MVE_FMAS(vector, s0, s1, s2, s3) \
    "vfma.f32 %q[s0], " vector ", " s0 "\n\t" \
    "vfma.f32 %q[s1], " vector ", " s1 "\n\t" \
    "vfma.f32 %q[s2], " vector ", " s2 "\n\t" \
    "vfma.f32 %q[s3], " vector ", " s3 "\n\t"
#define SP_K_MVE_STEP \
    "vldrw.32 q4, [%[b]], #16\n\t" \
    "ldmia.w %[a]!, {r4, r5, r6, r8}\n\t" SP_K_MVE_FMAS("q4", "r4", "r5", "r6", "r8")
#define SP_K_MVE_2_STEPS \
    "vldrw.32 q4, [%[b]], #16\n\t" \
    "ldmia.w %[a]!, {r4, r5, r6, r8, r9, r10, r11, r12}\n\t" \
    "vldrw.32 q5, [%[b]], #16\n\t" SP_K_MVE_FMAS("q4", "r4", "r5", "r6", "r8") \
        SP_K_MVE_FMAS("q5", "r9", "r10", "r11", "r12")

#define SP_K_MVE_8_STEPS SP_K_MVE_2_STEPS SP_K_MVE_2_STEPS SP_K_MVE_2_STEPS SP_K_MVE_2_STEPS
#define SP_K_MVE_CHANGED [s0] "+w"(s0), [s1] "+w"(s1), [s2] "+w"(s2), [s3] "+w"(s3), [a] "+r"(a), [b] "+r"(b)
#define SP_K_MVE_USED \
    "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", \
        "cc", "memory"

/* Returns what is behind a's steps. */
SP_K_INTO const float *sp_k_mve_steps(float32x4_t s0, float32x4_t s1, float32x4_t s2, float32x4_t s3, const float *a,
                                      const float *b, int32_t steps, float *sums)
{
    const int known = __builtin_constant_p(steps) && steps > 0 && steps % 16 == 0;
    if (known && steps == 16) {
        __asm__ volatile(SP_K_MVE_8_STEPS SP_K_MVE_8_STEPS : SP_K_MVE_CHANGED : : SP_K_MVE_USED);
    } else if (known) {
        __asm__ volatile("dls lr, %[blocks]\n\t"
                         "1:\n\t" SP_K_MVE_8_STEPS SP_K_MVE_8_STEPS "le lr, 1b\n\t"
                         : SP_K_MVE_CHANGED
                         : [blocks] "r"(steps >> 4)
                         : SP_K_MVE_USED);
    } else {
        const int32_t blocks = steps >> 3, rest = steps & 7;
        __asm__ volatile("wls lr, %[blocks], 2f\n\t"
                         "1:\n\t" SP_K_MVE_8_STEPS "le lr, 1b\n\t"
                         "2:\n\t"
                         "wls lr, %[rest], 4f\n\t"
                         "3:\n\t" SP_K_MVE_STEP "le lr, 3b\n\t"
                         "4:\n\t"
                         : SP_K_MVE_CHANGED
                         : [blocks] "r"(blocks), [rest] "r"(rest)
                         : SP_K_MVE_USED);
    }
    sp_k_store(sums, s0);
    sp_k_store(sums + 4, s1);
    sp_k_store(sums + 8, s2);
    sp_k_store(sums + 12, s3);
    return a;
}

SP_K_INTO const float *sp_k_mve_sums(const float *start, const float *a, const float *b, int32_t steps, float *sums)
{
    return sp_k_mve_steps(sp_k_load(start), sp_k_load(start + 4), sp_k_load(start + 8), sp_k_load(start + 12), a, b,
                          steps, sums);
}

SP_K_INTO const float *sp_k_mve_plus(const float *start, const float *x, const float *a, const float *b, int32_t steps,
                                     float *sums)
{
    return sp_k_mve_steps(vaddq_f32(sp_k_load(x), sp_k_load(start)), vaddq_f32(sp_k_load(x + 4), sp_k_load(start + 4)),
                          vaddq_f32(sp_k_load(x + 8), sp_k_load(start + 8)),
                          vaddq_f32(sp_k_load(x + 12), sp_k_load(start + 12)), a, b, steps, sums);
}

static inline void sp_k_panel_sums(const float *start, const float *a, const float *b, int32_t steps, float *sums)
{
    sp_k_mve_sums(start, a, b, steps, sums);
}

static inline void sp_k_panel_plus(const float *start, const float *x, const float *a, const float *b, int32_t steps,
                                   float *sums)
{
    sp_k_mve_plus(start, x, a, b, steps, sums);
}

/* A tile's weights end where the next one's begin: one register less. */
#define SP_K_PANEL_TILES
static inline void sp_k_panel_tiles(const float *start, int32_t apart, const float *w, const float *x, int32_t steps,
                                    int32_t tiles, float *sums)
{
    for (; tiles > 0; --tiles, start += apart, sums += 16)
        w = sp_k_mve_sums(start, w, x, steps, sums);
}

static inline void sp_k_panel_tiles_plus(const float *start, const float *plus, const float *w, const float *x,
                                         int32_t steps, int32_t tiles, float *sums)
{
    for (; tiles > 0; --tiles, start += 16, plus += 16, sums += 16)
        w = sp_k_mve_plus(start, plus, w, x, steps, sums);
}

static inline void sp_k_panel_turned(const float *x, const float *a, const float *b, int32_t steps, float *sums)
{
    const uint32x4_t columns = vidupq_n_u32(0, 4);
    sp_k_mve_steps(vldrwq_gather_shifted_offset_f32(x, columns), vldrwq_gather_shifted_offset_f32(x + 1, columns),
                   vldrwq_gather_shifted_offset_f32(x + 2, columns), vldrwq_gather_shifted_offset_f32(x + 3, columns),
                   a, b, steps, sums);
}

/* A vector holds a row's four columns. */
SP_K_APART void sp_k_panel_few(const float *w, const float *x, int32_t steps, int32_t rows, float *sums, int32_t across,
                               int32_t down)
{
    const uint32x4_t columns = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)across);
    float32x4_t s0 = vldrwq_gather_shifted_offset_f32(sums, columns);
    float32x4_t s1 = vldrwq_gather_shifted_offset_f32(sums + down, columns);
    if (rows == 1) {
        for (int32_t k = 0; k < steps; ++k)
            s0 = vfmaq_n_f32(s0, sp_k_load(w + 4 * k), x[4 * k]);
    } else {
        for (int32_t k = 0; k < steps; ++k) {
            const float32x4_t four = sp_k_load(w + 4 * k);
            s0 = vfmaq_n_f32(s0, four, x[4 * k]);
            s1 = vfmaq_n_f32(s1, four, x[4 * k + 1]);
        }
        vstrwq_scatter_shifted_offset_f32(sums + down, columns, s1);
    }
    vstrwq_scatter_shifted_offset_f32(sums, columns, s0);
}

/* A step of a row by eight columns. */
#define SP_K_MVE_ROW_NEXT \
    "ldr r4, [%[x]], %[next]\n\t" \
    "vldrw.32 q4, [%[w]], #16\n\t" \
    "vldrw.32 q5, [%[w]], #16\n\t" \
    "vfma.f32 %q[s0], q4, r4\n\t" \
    "vfma.f32 %q[s1], q5, r4\n\t"

SP_K_INTO void sp_k_row(const float *x, int32_t apart, const float *w, int32_t steps, float *sums)
{
    float32x4_t s0 = sp_k_load(sums), s1 = sp_k_load(sums + 4);
    if (__builtin_constant_p(apart) && apart < 64) { /* so far one load goes on */
        const int32_t blocks = steps >> 2, rest = steps & 3;
        __asm__ volatile("wls lr, %[blocks], 2f\n\t"
                         "1:\n\t" SP_K_MVE_ROW_NEXT SP_K_MVE_ROW_NEXT SP_K_MVE_ROW_NEXT SP_K_MVE_ROW_NEXT
                         "le lr, 1b\n\t"
                         "2:\n\t"
                         "wls lr, %[rest], 4f\n\t"
                         "3:\n\t" SP_K_MVE_ROW_NEXT "le lr, 3b\n\t"
                         "4:\n\t"
                         : [s0] "+w"(s0), [s1] "+w"(s1), [x] "+r"(x), [w] "+r"(w)
                         : [blocks] "r"(blocks), [rest] "r"(rest), [next] "i"(4 * apart)
                         : "r4", "lr", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "cc", "memory");
    } else {
        for (int32_t k = 0; k < steps; ++k) {
            s0 = vfmaq_n_f32(s0, sp_k_load(w + 8 * k), x[k * apart]);
            s1 = vfmaq_n_f32(s1, sp_k_load(w + 8 * k + 4), x[k * apart]);
        }
    }
    sp_k_store(sums, s0);
    sp_k_store(sums + 4, s1);
}

static inline void sp_k_row_bytes(const float *x, int32_t apart, const int8_t *w, int32_t steps, float *sums)
{
    float32x4_t s0 = sp_k_load(sums), s1 = sp_k_load(sums + 4);
    for (int32_t k = 0; k < steps; ++k, w += 8, x += apart) {
        s0 = vfmaq_n_f32(s0, vcvtq_f32_s32(vldrbq_s32(w)), *x);
        s1 = vfmaq_n_f32(s1, vcvtq_f32_s32(vldrbq_s32(w + 4)), *x);
    }
    sp_k_store(sums, s0);
    sp_k_store(sums + 4, s1);
}

static inline void sp_k_panel_top(const float *scores, int32_t tiles, float *top)
{
    float32x4_t largest = sp_k_load(scores);
    for (int32_t j = 0; j < 4 * tiles; ++j, scores += 4)
        largest = vmaxnmq_f32(largest, sp_k_load(scores));
    sp_k_store(top, largest);
}

/* The cubics in f of a table's entries `at`. */
static inline float32x4_t sp_k_mve_cubics(float32x4_t f, const float *table, uint32x4_t at)
{
    const uint32x4_t first = vshlq_n_u32(at, 2);
    float32x4_t p = vldrwq_gather_shifted_offset_f32(table + 3, first);
    p = vfmaq_f32(vldrwq_gather_shifted_offset_f32(table + 2, first), p, f);
    p = vfmaq_f32(vldrwq_gather_shifted_offset_f32(table + 1, first), p, f);
    return vfmaq_f32(vldrwq_gather_shifted_offset_f32(table, first), p, f);
}

static inline void sp_k_panel_powers(float *scores, int32_t keys, const float *shift, const float *table, float *total)
{
    const float32x4_t shifts = sp_k_load(shift), least = vdupq_n_f32(SP_K_MAGIC - (SP_K_EXP2_ENTRIES - 1));
    const uint32_t zero = 0x4b400000u - (SP_K_EXP2_ENTRIES - 1); /* the bits of that */
    float32x4_t sums = vdupq_n_f32(0.0f);
    for (int32_t j = 0; j < keys; ++j, scores += 4) {
        const float32x4_t four = sp_k_load(scores), rounded = vmaxnmq_f32(vaddq_f32(four, shifts), least);
        const float32x4_t f = vsubq_f32(four, vsubq_f32(rounded, shifts));
        const float32x4_t p = sp_k_mve_cubics(f, table, vsubq_n_u32(vreinterpretq_u32_f32(rounded), zero));
        sp_k_store(scores, p);
        sums = vaddq_f32(sums, p);
    }
    sp_k_store(total, sums);
}

static inline void sp_k_panel_powers_within(float *scores, int32_t keys, const float *table, float *total)
{
    const uint32x4_t mask = vdupq_n_u32(SP_K_POWERS_STEPS - 1);
    float32x4_t sums = vdupq_n_f32(0.0f);
    for (int32_t j = 0; j < keys; ++j, scores += 4) {
        const float32x4_t four = sp_k_load(scores), rounded = vaddq_n_f32(four, SP_K_MAGIC - SP_K_POWERS_MIDDLE);
        const float32x4_t f = vsubq_f32(four, vsubq_n_f32(rounded, SP_K_MAGIC));
        const uint32x4_t n = vreinterpretq_u32_f32(rounded);
        const uint32x4_t fraction = vldrwq_gather_shifted_offset_u32((const uint32_t *)table, vandq_u32(n, mask));
        const uint32x4_t bits = vaddq_u32(fraction, vshlq_n_u32(n, 23 - SP_K_POWERS_BITS));
        const float32x4_t p = vmulq_f32(vreinterpretq_f32_u32(bits), f);
        sp_k_store(scores, p);
        sums = vaddq_f32(sums, p);
    }
    sp_k_store(total, sums);
}

/* By the squares of a table that has entries for `limited`. */
static inline float32x4_t sp_k_mve_gelu(float32x4_t value, float32x4_t limited, const float *zero)
{
    const uint32x4_t first = vreinterpretq_u32_s32(vshlq_n_s32(vcvtnq_s32_f32(limited), 4)); /* bytes */
    const float32x4_t f = vaddq_f32(value, vldrwq_gather_offset_f32(zero, first));
    float32x4_t p = vldrwq_gather_offset_f32(zero + 3, first);
    p = vfmaq_f32(vldrwq_gather_offset_f32(zero + 2, first), p, f);
    return vfmaq_f32(vldrwq_gather_offset_f32(zero + 1, first), p, f);
}

/* Of one column among other work: by addresses in a vector, which take one register in the place of four. */
static inline void sp_k_panel_gelu(float *x, const float *zero)
{
    const float32x4_t value = sp_k_load(x);
    const float32x4_t limited = vminnmq_f32(vmaxnmq_f32(value, vdupq_n_f32(-256.0f)), vdupq_n_f32(255.0f));
    const uint32x4_t first = vreinterpretq_u32_s32(vshlq_n_s32(vcvtnq_s32_f32(limited), 4)); /* bytes */
    const uint32x4_t entry = vaddq_n_u32(first, (uint32_t)(uintptr_t)zero);
    const float32x4_t f = vaddq_f32(value, vldrwq_gather_base_f32(entry, 0));
    float32x4_t p = vldrwq_gather_base_f32(entry, 12);
    p = vfmaq_f32(vldrwq_gather_base_f32(entry, 8), p, f);
    sp_k_store(x, vfmaq_f32(vldrwq_gather_base_f32(entry, 4), p, f));
}

SP_K_INTO void sp_k_panel_gelu_columns(float *x, int32_t columns, const float *zero, int within)
{
    for (; columns > 0; --columns, x += 4)
        if (within)
            sp_k_store(x, sp_k_mve_gelu(sp_k_load(x), sp_k_load(x), zero));
        else
            sp_k_panel_gelu(x, zero);
}

static inline void sp_k_panel_scale(float *sums, const float *by)
{
    const float32x4_t four = sp_k_load(by);
    for (int i = 0; i < 16; i += 4)
        sp_k_store(sums + i, vmulq_f32(sp_k_load(sums + i), four));
}

/* A vector holds the four heads. Of a tile, eight scalars are taken by one load. */
#define SP_K_MVE_KEY(even, odd) \
    "vldrw.32 q4, [%[weights]], #16\n\t" \
    "vfma.f32 %q[s0], q4, " even "\n\t" \
    "vfma.f32 %q[s1], q4, " odd "\n\t"

static inline void sp_k_panel_mixtures(const float *weights, const float *values, int32_t tiles, int32_t stride,
                                       float *sums)
{
    const uint32x4_t heads = vidupq_n_u32(0, 2);
    float32x4_t s0 = vdupq_n_f32(0.0f), s1 = s0;
    __asm__ volatile("wls lr, %[tiles], 2f\n\t"
                     "1:\n\t"
                     "ldmia.w %[values], {r4, r5, r6, r8, r9, r10, r11, r12}\n\t"
                     "add %[values], %[values], %[bytes]\n\t" SP_K_MVE_KEY("r4", "r9") SP_K_MVE_KEY("r5", "r10")
                         SP_K_MVE_KEY("r6", "r11") SP_K_MVE_KEY("r8", "r12") "le lr, 1b\n\t"
                                                                             "2:\n\t"
                     : [s0] "+w"(s0), [s1] "+w"(s1), [weights] "+r"(weights), [values] "+r"(values)
                     : [tiles] "r"(tiles), [bytes] "r"(4 * stride)
                     : SP_K_MVE_USED);
    vstrwq_scatter_shifted_offset_f32(sums, heads, s0);
    vstrwq_scatter_shifted_offset_f32(sums + 1, heads, s1);
}

static inline void sp_k_panel_norm(const float *x, int32_t width, float share, float epsilon, float *out)
{
    float32x4_t mean = vdupq_n_f32(0.0f), square = mean;
    float scale[4];
    for (int32_t k = 0; k < width; ++k)
        mean = vaddq_f32(mean, sp_k_load(x + 4 * k));
    mean = vmulq_n_f32(mean, share);
    for (int32_t k = 0; k < width; ++k) {
        const float32x4_t d = vsubq_f32(sp_k_load(x + 4 * k), mean);
        sp_k_store(out + 4 * k, d);
        square = vfmaq_f32(square, d, d);
    }
    sp_k_store(scale, vaddq_n_f32(vmulq_n_f32(square, share), epsilon));
    for (int r = 0; r < 4; ++r)
        scale[r] = 1.0f / SP_K_SQRT(scale[r]);
    square = sp_k_load(scale);
    for (int32_t k = 0; k < width; ++k)
        sp_k_store(out + 4 * k, vmulq_f32(sp_k_load(out + 4 * k), square));
}

static inline void sp_k_panel_centre(float *x, int32_t width, float share)
{
    float32x4_t even = vdupq_n_f32(0.0f), odd = even;
    const float *at = x;
    SP_K_MVE_NOT_UNROLLED
    for (int32_t k = 0; k < width >> 2; ++k, at += 16) {
        even = vaddq_f32(vaddq_f32(even, sp_k_load(at)), sp_k_load(at + 8));
        odd = vaddq_f32(vaddq_f32(odd, sp_k_load(at + 4)), sp_k_load(at + 12));
    }
    even = vaddq_f32(even, odd);
    for (int32_t k = 0; k < (width & 3); ++k, at += 4)
        even = vaddq_f32(even, sp_k_load(at));
    even = vmulq_n_f32(even, share);
    for (int32_t k = 0; k < width; ++k, x += 4)
        sp_k_store(x, vsubq_f32(sp_k_load(x), even));
}

static inline void sp_k_panel_norm_centred(const float *x, int32_t width, float share, float epsilon, float *out)
{
    float32x4_t even = vdupq_n_f32(0.0f), odd = even;
    const float *at = x;
    float scale[4];
    SP_K_MVE_NOT_UNROLLED
    for (int32_t k = 0; k < width >> 2; ++k, at += 16) {
        const float32x4_t a = sp_k_load(at), b = sp_k_load(at + 4), c = sp_k_load(at + 8), d = sp_k_load(at + 12);
        even = vfmaq_f32(vfmaq_f32(even, a, a), c, c);
        odd = vfmaq_f32(vfmaq_f32(odd, b, b), d, d);
    }
    even = vaddq_f32(even, odd);
    for (int32_t k = 0; k < (width & 3); ++k, at += 4)
        even = vfmaq_f32(even, sp_k_load(at), sp_k_load(at));
    sp_k_store(scale, vaddq_n_f32(vmulq_n_f32(even, share), epsilon));
    for (int r = 0; r < 4; ++r)
        scale[r] = 1.0f / SP_K_SQRT(scale[r]);
    even = sp_k_load(scale);
    for (int32_t k = 0; k < width; ++k)
        sp_k_store(out + 4 * k, vmulq_f32(sp_k_load(x + 4 * k), even));
}

static inline void sp_k_panel_add_column(const float *x, const float *y, float *out)
{
    sp_k_store(out, vaddq_f32(sp_k_load(x), sp_k_load(y)));
}

static inline void sp_k_panel_copy(const float *x, int32_t floats, float *out)
{
    for (int32_t i = 0; i < floats; i += 4)
        sp_k_store(out + i, sp_k_load(x + i));
}

static inline void sp_k_panel_turn(const float *x, int32_t width, float *out)
{
    const uint32x4_t rows = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)width);
    for (int32_t k = 0; k < width; ++k)
        sp_k_store(out + 4 * k, vldrwq_gather_shifted_offset_f32(x + k, rows));
}

#ifdef __cplusplus
}
#endif
#endif
