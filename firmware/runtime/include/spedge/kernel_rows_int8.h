/* kernel_rows.h for one kind of vector instructions: products of 8 bits. */
#ifndef SP_KERNEL_ROWS_INT8_H_INCLUDED
#define SP_KERNEL_ROWS_INT8_H_INCLUDED

#include "spedge/kernel_rows_tiles.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <immintrin.h>
#endif

#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast", "no-schedule-insns")
#endif

#if defined(__aarch64__)

/* Eight steps' numbers of a row, as bytes, which is what they are; of fewer, zeros follow. */
SP_K_INTO int8x8_t sp_k_eight_bytes(const int16_t *x, int32_t there)
{
    int16_t some[8] = {0};
    if (there >= 8)
        return vmovn_s16(vld1q_s16(x));
    memcpy(some, x, sizeof *x * (size_t)there);
    return vmovn_s16(vld1q_s16(some));
}

/* A row's sums of eight columns, and four more steps: half of its bytes x, and weights of two steps each. */
#if defined(__ARM_FEATURE_DOTPROD)
SP_K_INTO void sp_k_four_steps(int32x4_t *s, int8x8_t x, const int four, int8x16_t low, int8x16_t high,
                               const int vectors)
{
    const int16x8_t lows = vreinterpretq_s16_s8(low), highs = vreinterpretq_s16_s8(high);
    const int8x16_t first = vreinterpretq_s8_s16(vzip1q_s16(lows, highs)); /* the same for all rows */
    const int8x16_t second = vreinterpretq_s8_s16(vzip2q_s16(lows, highs));
    s[0] = four ? vdotq_lane_s32(s[0], first, x, 1) : vdotq_lane_s32(s[0], first, x, 0);
    if (vectors > 1)
        s[1] = four ? vdotq_lane_s32(s[1], second, x, 1) : vdotq_lane_s32(s[1], second, x, 0);
}
#else
/* Two products of bytes are added in 16 bits, which hold them: weights are not -128. */
SP_K_INTO void sp_k_four_steps(int32x4_t *s, int8x8_t x, const int four, int8x16_t low, int8x16_t high,
                               const int vectors)
{
    const int16x4_t pairs = vreinterpret_s16_s8(x);
    const int8x16_t one = vreinterpretq_s8_s16(vdupq_n_s16(pairs[2 * four]));
    const int8x16_t other = vreinterpretq_s8_s16(vdupq_n_s16(pairs[2 * four + 1]));
    const int8x8_t first = vget_low_s8(one), second = vget_low_s8(other);
    s[0] = vpadalq_s16(s[0], vmlal_s8(vmull_s8(vget_low_s8(low), first), vget_low_s8(high), second));
    if (vectors > 1)
        s[1] = vpadalq_s16(s[1], vmlal_high_s8(vmull_high_s8(low, one), high, other));
}
#endif

/* Eight steps of a tile. there: of them that there are, even. */
SP_K_INTO void sp_k_eight_steps(const int16_t *x, int32_t x_stride, const int8_t *w, int32_t there, int32x4_t (*s)[2],
                                const int rows, const int vectors)
{
    int8x8_t factors[SP_K_TILE_ROWS];
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r)
        factors[r] = sp_k_eight_bytes(x + r * x_stride, there);
    SP_K_UNROLL
    for (int four = 0; four < 2; ++four, w += 4 * SP_K_PANEL_COLUMNS) {
        const int8x16_t low = 4 * four < there ? vld1q_s8(w) : vdupq_n_s8(0);
        const int8x16_t high = 4 * four + 2 < there ? vld1q_s8(w + 2 * SP_K_PANEL_COLUMNS) : vdupq_n_s8(0);
        SP_K_UNROLL
        for (int r = 0; r < rows; ++r)
            sp_k_four_steps(s[r], factors[r], four, low, high, vectors);
    }
}

/* Sums of a tile, as sp_k_tile has them. */
SP_K_INTO void sp_k_tile_int8(const int16_t *x, int32_t x_stride, const int8_t *w, int32_t depth, sp_k_lanes_t *sums,
                              const int rows, const int vectors)
{
    int32x4_t s[SP_K_TILE_ROWS][2];
    int32_t left = depth;
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r)
        s[r][0] = s[r][1] = vdupq_n_s32(0);
    for (; left >= 8; left -= 8, x += 8, w += 8 * SP_K_PANEL_COLUMNS)
        sp_k_eight_steps(x, x_stride, w, 8, s, rows, vectors);
    if (left > 0)
        sp_k_eight_steps(x, x_stride, w, left, s, rows, vectors);
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r) {
        sums[2 * r] = vcvtq_f32_s32(s[r][0]);
        sums[2 * r + 1] = vcvtq_f32_s32(s[r][1]);
    }
}

#else

/* Weights of two steps and as many columns as a vector has lanes, and a sum for each column: sums plus their products
 * with two numbers of x. */
#if defined(__AVX512BW__)
typedef __m512i sp_k_pairs_t;
SP_K_INTO sp_k_pairs_t sp_k_pairs(const int8_t *w)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)w));
}
SP_K_INTO sp_k_whole_lanes_t sp_k_add_pairs(sp_k_whole_lanes_t sums, int32_t x, sp_k_pairs_t w)
{
#if defined(__AVX512VNNI__)
    return (sp_k_whole_lanes_t)_mm512_dpwssd_epi32((__m512i)sums, _mm512_set1_epi32(x), w);
#else
    return sums + (sp_k_whole_lanes_t)_mm512_madd_epi16(_mm512_set1_epi32(x), w);
#endif
}
#elif defined(__AVX2__)
typedef __m256i sp_k_pairs_t;
SP_K_INTO sp_k_pairs_t sp_k_pairs(const int8_t *w)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));
}
SP_K_INTO sp_k_whole_lanes_t sp_k_add_pairs(sp_k_whole_lanes_t sums, int32_t x, sp_k_pairs_t w)
{
    return sums + (sp_k_whole_lanes_t)_mm256_madd_epi16(_mm256_set1_epi32(x), w);
}
#elif defined(__SSE2__) && !defined(__AVX__)
typedef __m128i sp_k_pairs_t;
SP_K_INTO sp_k_pairs_t sp_k_pairs(const int8_t *w)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)w);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
SP_K_INTO sp_k_whole_lanes_t sp_k_add_pairs(sp_k_whole_lanes_t sums, int32_t x, sp_k_pairs_t w)
{
    return sums + (sp_k_whole_lanes_t)_mm_madd_epi16(_mm_set1_epi32(x), w);
}
#else
typedef int16_t sp_k_two_bytes_t __attribute__((vector_size(2 * SP_K_LANES), aligned(1), may_alias));
typedef struct sp_k_pairs {
    sp_k_whole_lanes_t first, second;
} sp_k_pairs_t;
SP_K_INTO sp_k_pairs_t sp_k_pairs(const int8_t *w)
{
    const sp_k_whole_lanes_t both = __builtin_convertvector(*(const sp_k_two_bytes_t *)w, sp_k_whole_lanes_t);
    const sp_k_pairs_t pairs = {(both << 24) >> 24, both >> 8};
    return pairs;
}
SP_K_INTO sp_k_whole_lanes_t sp_k_add_pairs(sp_k_whole_lanes_t sums, int32_t x, sp_k_pairs_t w)
{
    return sums + (int16_t)x * w.first + (x >> 16) * w.second;
}
#endif

SP_K_INTO int32_t sp_k_two(const int16_t *x)
{
    int32_t both;
    memcpy(&both, x, sizeof both);
    return both;
}

/* Sums of a tile, as sp_k_tile has them. */
SP_K_INTO void sp_k_tile_int8(const int16_t *x, int32_t x_stride, const int8_t *w, int32_t depth, sp_k_lanes_t *sums,
                              const int rows, const int vectors)
{
    sp_k_whole_lanes_t s[SP_K_TILE_ROWS][2];
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r)
        s[r][0] = s[r][1] = (sp_k_whole_lanes_t){0};
    for (int32_t left = depth; left > 0; left -= 2, x += 2, w += 2 * SP_K_PANEL_COLUMNS) {
        const sp_k_pairs_t first = sp_k_pairs(w);
        const sp_k_pairs_t second = vectors > 1 ? sp_k_pairs(w + 2 * SP_K_LANES) : first;
        SP_K_UNROLL
        for (int r = 0; r < rows; ++r) {
            const int32_t both = sp_k_two(x + r * x_stride);
            s[r][0] = sp_k_add_pairs(s[r][0], both, first);
            if (vectors > 1)
                s[r][1] = sp_k_add_pairs(s[r][1], both, second);
        }
    }
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r) {
        sums[2 * r] = __builtin_convertvector(s[r][0], sp_k_lanes_t);
        sums[2 * r + 1] = __builtin_convertvector(s[r][1], sp_k_lanes_t);
    }
}

#endif

void SP_K_OF(sp_k_product_int8)(const sp_k_product_t *p, int32_t panel, int32_t part, int32_t parts)
{
    const int32_t first = panel * SP_K_PANEL_COLUMNS, x_stride = p->x_stride;
    const int8_t *const w = (const int8_t *)p->w + (ptrdiff_t)first * p->depth;
    sp_k_lanes_t sums[2 * SP_K_TILE_ROWS];
    SP_K_EACH_TILE(row, step, p->rows, part, parts)
    {
        const int16_t *const x = (const int16_t *)p->x + (ptrdiff_t)row * x_stride;
        for (int32_t column = 0; column < SP_K_PANEL_COLUMNS && first + column < p->columns;
             column += SP_K_TILE_COLUMNS) {
            const int32_t here = p->columns - first - column, vectors = here > SP_K_LANES ? 2 : 1;
            if (vectors > 1) {
#define SP_K_TILE(n) sp_k_tile_int8(x, x_stride, w + 2 * column, p->depth, sums, n, 2)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            } else {
#define SP_K_TILE(n) sp_k_tile_int8(x, x_stride, w + 2 * column, p->depth, sums, n, 1)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            }
            sp_k_finish(sums, row, first + column, step, vectors, here, &p->end);
        }
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

#endif
