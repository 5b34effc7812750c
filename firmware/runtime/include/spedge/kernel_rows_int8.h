/* kernel_rows.h with weights and activations of 8 bits: the same integers on every core. Two steps of the reduction lie
 * side by side, the last one filled up with zeros: x int16 [rows][depth], depth even; weights int8 in panels,
 * [columns / 32][depth / 2][32][2]. */
#ifndef SP_KERNEL_ROWS_INT8_H_INCLUDED
#define SP_KERNEL_ROWS_INT8_H_INCLUDED

#include "spedge/kernel_int8.h"
#include "spedge/kernel_rows.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
#endif

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

/* As sp_k_rows_product: plus + bias + scale (x w), the sums exact below 130 000 steps. */
SP_K_APART void sp_k_rows_product_int8(const int16_t *x, int32_t x_stride, int32_t rows, const int8_t *w, int32_t depth,
                                       int32_t columns, const float *scale, const float *bias, const float *plus,
                                       int32_t plus_stride, int32_t gelu, float *out, int32_t out_stride)
{
    const sp_k_end_t end = {bias, scale, plus, out, plus_stride, out_stride, gelu};
    sp_k_lanes_t sums[2 * SP_K_TILE_ROWS];
    for (int32_t row = 0; row < rows;) {
        const int32_t step = sp_k_next_tile(rows - row);
        for (int32_t column = 0; column < columns; column += SP_K_TILE_COLUMNS) {
            const int32_t here = columns - column, vectors = here > SP_K_LANES ? 2 : 1;
            if (vectors > 1) {
#define SP_K_TILE(n) sp_k_tile_int8(x + row * x_stride, x_stride, w + 2 * column, depth, sums, n, 2)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            } else {
#define SP_K_TILE(n) sp_k_tile_int8(x + row * x_stride, x_stride, w + 2 * column, depth, sums, n, 1)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            }
            sp_k_finish(sums, row, column, step, vectors, here, &end);
        }
        row += step;
    }
}

/* sp_k_quantise(x inverse) of each number of the rows; out_stride: depth up to an even number. */
SP_K_APART void sp_k_rows_quantise(const float *x, int32_t x_stride, int32_t rows, int32_t depth, float inverse,
                                   int16_t *out, int32_t out_stride)
{
    const sp_k_lanes_t low = sp_k_all(-128.0f), high = sp_k_all(127.0f);
    const int32_t whole = depth - depth % SP_K_LANES;
    for (int32_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
        for (int32_t k = 0; k < whole; k += SP_K_LANES) {
            const sp_k_lanes_t value = sp_k_load(x + k) * inverse;
            const sp_k_lanes_t within = sp_k_choose(value < low, low, sp_k_choose(value > high, high, value));
            const sp_k_whole_lanes_t bits = (sp_k_whole_lanes_t)(within + 12582912.0f) - 0x4b400000;
            *(sp_k_half_lanes_t *)(out + k) = __builtin_convertvector(bits, sp_k_half_lanes_t);
        }
        for (int32_t k = whole; k < depth; ++k)
            out[k] = sp_k_quantise_c(x[k] * inverse);
        for (int32_t k = depth; k < out_stride; ++k)
            out[k] = 0;
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

#ifdef __cplusplus
}
#endif
#endif
