/* kernel_rows.h for one kind of vector instructions: products with weights of floats and of bytes, attention, and rows. */
#ifndef SP_KERNEL_ROWS_FLOATS_H_INCLUDED
#define SP_KERNEL_ROWS_FLOATS_H_INCLUDED

#include "spedge/kernel_int8.h"
#include "spedge/kernel_rows_tiles.h"
#if defined(__aarch64__)
#include "spedge/kernel_vector_neon.h"
#elif defined(__SSE2__)
#include <immintrin.h>
#endif

#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast", "no-schedule-insns")
#endif

/* ---------------------------------------------------------------- products */

/* A step's weights of `vectors` vectors; of one, *second is the first again. bytes, a constant: whether they are 8 bits
 * wide, then they are widened in steps that are an instruction each. */
#if defined(__aarch64__)
SP_K_INTO void sp_k_weights(const char *w, const int vectors, const int bytes, sp_k_lanes_t *first,
                            sp_k_lanes_t *second)
{
    if (bytes) { /* a tile's eight, of which there is room in a panel */
        const int16x8_t half = vmovl_s8(vld1_s8((const int8_t *)w));
        *first = vcvtq_f32_s32(vmovl_s16(vget_low_s16(half)));
        *second = vectors > 1 ? (sp_k_lanes_t)vcvtq_f32_s32(vmovl_high_s16(half)) : *first;
    } else {
        *first = sp_k_load((const float *)(const void *)w);
        *second = vectors > 1 ? sp_k_load((const float *)(const void *)w + SP_K_LANES) : *first;
    }
}
#else
SP_K_INTO sp_k_lanes_t sp_k_widened(const char *w)
{
#if defined(__AVX512F__)
    return (sp_k_lanes_t)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)w)));
#elif defined(__AVX2__)
    return (sp_k_lanes_t)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)w)));
#else
    const sp_k_byte_lanes_t narrow = *(const sp_k_byte_lanes_t *)(const void *)w;
    const sp_k_half_lanes_t half = __builtin_convertvector(narrow, sp_k_half_lanes_t);
    return __builtin_convertvector(__builtin_convertvector(half, sp_k_whole_lanes_t), sp_k_lanes_t);
#endif
}
SP_K_INTO void sp_k_weights(const char *w, const int vectors, const int bytes, sp_k_lanes_t *first,
                            sp_k_lanes_t *second)
{
    const char *const next = vectors > 1 ? w + (bytes ? 1 : 4) * SP_K_LANES : w;
    *first = bytes ? sp_k_widened(w) : sp_k_load((const float *)(const void *)w);
    *second = bytes ? sp_k_widened(next) : sp_k_load((const float *)(const void *)next);
}
#endif

/* Sums of a tile of `rows` rows and `vectors` vectors, both constants. Few rows take several sums each, so that a step
 * does not wait for the one before it. */
SP_K_INTO void sp_k_tile(const float *x, int32_t x_stride, const char *w, int32_t depth, sp_k_lanes_t *sums,
                         const int rows, const int vectors, const int bytes)
{
    const int ways = rows < 3 ? 4 / rows : 1, panel = (bytes ? 1 : 4) * SP_K_PANEL_COLUMNS;
    sp_k_lanes_t s[SP_K_TILE_ROWS][2], first, second;
    int32_t left = depth;
    SP_K_UNROLL
    for (int i = 0; i < ways * rows; ++i)
        s[i][0] = s[i][1] = (sp_k_lanes_t){0};
#if defined(__aarch64__)
    for (; rows > 2 && left >= 4; left -= 4, x += 4) { /* a lane of a vector of x is an operand of the instruction */
        sp_k_lanes_t factors[SP_K_TILE_ROWS];
        SP_K_UNROLL
        for (int r = 0; r < rows; ++r)
            factors[r] = sp_k_load(x + r * x_stride);
        SP_K_UNROLL
        for (int step = 0; step < 4; ++step, w += panel) {
            sp_k_weights(w, vectors, bytes, &first, &second);
            SP_K_UNROLL
            for (int r = 0; r < rows; ++r) {
                s[r][0] += factors[r][step] * first;
                if (vectors > 1)
                    s[r][1] += factors[r][step] * second;
            }
        }
    }
#endif
    for (; left >= ways; left -= ways, x += ways) {
        SP_K_UNROLL
        for (int way = 0; way < ways; ++way, w += panel) {
            sp_k_weights(w, vectors, bytes, &first, &second);
            SP_K_UNROLL
            for (int r = 0; r < rows; ++r) {
                s[way * rows + r][0] += x[r * x_stride + way] * first;
                if (vectors > 1)
                    s[way * rows + r][1] += x[r * x_stride + way] * second;
            }
        }
    }
    for (; ways > 1 && left > 0; --left, ++x, w += panel) {
        sp_k_weights(w, vectors, bytes, &first, &second);
        for (int r = 0; r < rows; ++r) {
            s[r][0] += x[r * x_stride] * first;
            if (vectors > 1)
                s[r][1] += x[r * x_stride] * second;
        }
    }
    SP_K_UNROLL
    for (int i = rows; i < ways * rows; ++i) {
        s[i % rows][0] += s[i][0];
        s[i % rows][1] += s[i][1];
    }
    SP_K_UNROLL
    for (int r = 0; r < rows; ++r) {
        sums[2 * r] = s[r][0];
        sums[2 * r + 1] = s[r][1];
    }
}

/* A panel's columns of a part of the rows' tiles. */
SP_K_INTO void sp_k_panel_of(const sp_k_product_t *p, int32_t panel, int32_t part, int32_t parts, const int bytes)
{
    const int32_t first = panel * SP_K_PANEL_COLUMNS, x_stride = p->x_stride, size = bytes ? 1 : 4;
    const char *const w = (const char *)p->w + (ptrdiff_t)size * first * p->depth;
    sp_k_lanes_t sums[2 * SP_K_TILE_ROWS];
    SP_K_EACH_TILE(row, step, p->rows, part, parts)
    {
        const float *const x = (const float *)p->x + (ptrdiff_t)row * x_stride;
        for (int32_t column = 0; column < SP_K_PANEL_COLUMNS && first + column < p->columns;
             column += SP_K_TILE_COLUMNS) {
            const int32_t here = p->columns - first - column, vectors = here > SP_K_LANES ? 2 : 1;
            const char *const at = w + size * column;
            if (vectors > 1) {
#define SP_K_TILE(n) sp_k_tile(x, x_stride, at, p->depth, sums, n, 2, bytes)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            } else {
#define SP_K_TILE(n) sp_k_tile(x, x_stride, at, p->depth, sums, n, 1, bytes)
                SP_K_BY_ROWS(step)
#undef SP_K_TILE
            }
            sp_k_finish(sums, row, first + column, step, vectors, here, &p->end);
        }
    }
}

void SP_K_OF(sp_k_product_floats)(const sp_k_product_t *product, int32_t panel, int32_t part, int32_t parts)
{
    sp_k_panel_of(product, panel, part, parts, 0);
}

void SP_K_OF(sp_k_product_bytes)(const sp_k_product_t *product, int32_t panel, int32_t part, int32_t parts)
{
    sp_k_panel_of(product, panel, part, parts, 1);
}

/* sp_k_tile_4x8 of kernel_vector.h. */
#if !defined(__aarch64__)
typedef float sp_k_eight_t __attribute__((vector_size(32), aligned(4), may_alias));

SP_K_INTO void sp_k_four_by_eight(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth,
                                  float *sums)
{
    sp_k_eight_t *const out = (sp_k_eight_t *)sums;
    sp_k_eight_t s0 = out[0], s1 = out[1], s2 = out[2], s3 = out[3];
    for (int32_t k = 0; k < depth; ++k) {
        const sp_k_eight_t v = *(const sp_k_eight_t *)(w + k * w_stride);
        s0 += x[k] * v;
        s1 += x[x_stride + k] * v;
        s2 += x[2 * x_stride + k] * v;
        s3 += x[3 * x_stride + k] * v;
    }
    out[0] = s0;
    out[1] = s1;
    out[2] = s2;
    out[3] = s3;
}
#endif

void SP_K_OF(sp_k_tile_4x8)(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth,
                            float *sums)
{
    sp_k_four_by_eight(x, x_stride, w, w_stride, depth, sums);
}

/* ---------------------------------------------------------------- rows */

void SP_K_OF(sp_k_norm)(const float *x, int32_t x_stride, int32_t rows, int32_t width, float inverse, float epsilon,
                        const float *scale, const float *shift, float *out, int32_t out_stride)
{
    const int32_t whole = width - width % SP_K_LANES;
    for (int32_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
        sp_k_lanes_t sums = {0}, squares = {0};
        float mean = 0.0f, variance = 0.0f, factor;
        for (int32_t k = 0; k < whole; k += SP_K_LANES)
            sums += sp_k_load(x + k);
        for (int32_t k = whole; k < width; ++k)
            mean += x[k];
        mean = (mean + sp_k_total(sums)) * inverse;
        for (int32_t k = 0; k < whole; k += SP_K_LANES) {
            const sp_k_lanes_t d = sp_k_load(x + k) - mean;
            squares += d * d;
        }
        for (int32_t k = whole; k < width; ++k)
            variance += (x[k] - mean) * (x[k] - mean);
        variance = (variance + sp_k_total(squares)) * inverse;
        factor = 1.0f / SP_K_SQRT(variance + epsilon);
        for (int32_t k = 0; k < whole; k += SP_K_LANES) {
            sp_k_lanes_t value = (sp_k_load(x + k) - mean) * factor;
            if (scale)
                value = value * sp_k_load(scale + k) + sp_k_load(shift + k);
            sp_k_store(out + k, value);
        }
        for (int32_t k = whole; k < width; ++k) {
            const float value = (x[k] - mean) * factor;
            out[k] = scale ? value * scale[k] + shift[k] : value;
        }
    }
}

void SP_K_OF(sp_k_quantise)(const float *x, int32_t x_stride, int32_t rows, int32_t depth, float inverse, int16_t *out,
                            int32_t out_stride)
{
    const sp_k_lanes_t low = sp_k_all(-128.0f), high = sp_k_all(127.0f);
    const int32_t whole = depth - depth % SP_K_LANES;
    for (int32_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
        int32_t k = 0;
#if defined(__aarch64__)
        for (; k + 8 <= depth; k += 8) { /* whose conversions round so, and narrow within limits */
            const int16x4_t low_half = vqmovn_s32(vcvtnq_s32_f32(vld1q_f32(x + k) * inverse));
            const int16x8_t all = vqmovn_high_s32(low_half, vcvtnq_s32_f32(vld1q_f32(x + k + 4) * inverse));
            vst1q_s16(out + k, vmovl_s8(vqmovn_s16(all)));
        }
#endif
        for (; k < whole; k += SP_K_LANES) {
            const sp_k_lanes_t value = sp_k_load(x + k) * inverse;
            const sp_k_lanes_t within = sp_k_choose(value < low, low, sp_k_choose(value > high, high, value));
            const sp_k_whole_lanes_t bits = (sp_k_whole_lanes_t)(within + 12582912.0f) - 0x4b400000;
            *(sp_k_half_lanes_t *)(out + k) = __builtin_convertvector(bits, sp_k_half_lanes_t);
        }
        for (; k < depth; ++k)
            out[k] = sp_k_quantise_c(x[k] * inverse);
        for (; k < out_stride; ++k)
            out[k] = 0;
    }
}

/* ---------------------------------------------------------------- attention */

/* Rows [keys][width] into panels of their columns, or, turned, of the rows: column j of the panels is row j. */
SP_K_INTO void sp_k_to_panels(const float *x, int32_t x_stride, int32_t keys, int32_t width, float *panels)
{
    for (int32_t first = 0; first < width; first += SP_K_PANEL_COLUMNS, panels += keys * SP_K_PANEL_COLUMNS) {
        const int32_t here = width - first < SP_K_PANEL_COLUMNS ? width - first : SP_K_PANEL_COLUMNS;
        for (int32_t k = 0; k < keys; ++k) {
            for (int32_t c = 0; c < here; ++c)
                panels[k * SP_K_PANEL_COLUMNS + c] = x[k * x_stride + first + c];
            for (int32_t c = here; c < SP_K_PANEL_COLUMNS; ++c)
                panels[k * SP_K_PANEL_COLUMNS + c] = 0.0f;
        }
    }
}

SP_K_INTO void sp_k_to_turned_panels(const float *x, int32_t x_stride, int32_t keys, int32_t width, float *panels)
{
    for (int32_t first = 0; first < keys; first += SP_K_PANEL_COLUMNS, panels += width * SP_K_PANEL_COLUMNS) {
        for (int32_t j = 0; j < SP_K_PANEL_COLUMNS; ++j) {
            const float *const row = x + (first + j) * x_stride;
            for (int32_t k = 0; k < width; ++k)
                panels[k * SP_K_PANEL_COLUMNS + j] = first + j < keys ? row[k] : 0.0f;
        }
    }
}

/* scores[r] = 2^(scores[r] - their largest), over keys of `width` columns, whole vectors; returns 1 / their sum in
 * inverse[r]. */
SP_K_INTO void sp_k_softmax(float *scores, int32_t stride, int32_t width, int32_t keys, int32_t rows, float *inverse)
{
    for (int32_t r = 0; r < rows; ++r, scores += stride) {
        sp_k_lanes_t top, sums = {0};
        float most;
        for (int32_t j = keys; j < width; ++j)
            scores[j] = -1e30f;
        top = sp_k_load(scores);
        for (int32_t j = SP_K_LANES; j < width; j += SP_K_LANES)
            top = sp_k_larger(top, sp_k_load(scores + j));
        most = top[0];
        for (int i = 1; i < SP_K_LANES; ++i)
            most = SP_K_MAX(most, top[i]);
        for (int32_t j = 0; j < width; j += SP_K_LANES) {
            const sp_k_lanes_t weights = sp_k_lanes_exp2(sp_k_load(scores + j) - most);
            sp_k_store(scores + j, weights);
            sums += weights;
        }
        inverse[r] = 1.0f / sp_k_total(sums);
    }
}

/* out[rows][columns] = x w, w in panels. */
SP_K_INTO void sp_k_plain_product(const float *x, int32_t x_stride, int32_t rows, const float *w, int32_t depth,
                                  int32_t columns, float *out, int32_t out_stride)
{
    const sp_k_end_t end = {NULL, NULL, NULL, out, 0, out_stride, 0};
    const sp_k_product_t product = {x, w, x_stride, rows, depth, columns, end};
    for (int32_t panel = 0; panel * SP_K_PANEL_COLUMNS < columns; ++panel)
        SP_K_OF(sp_k_product_floats)(&product, panel, 0, 1);
}

void SP_K_OF(sp_k_attention)(const sp_k_attention_t *a, int32_t head, float *scratch)
{
    const int32_t keys = a->keys, width = (keys + SP_K_PANEL_COLUMNS - 1) / SP_K_PANEL_COLUMNS * SP_K_PANEL_COLUMNS;
    const int32_t there = (keys + SP_K_LANES - 1) / SP_K_LANES * SP_K_LANES; /* whole vectors of keys */
    const int32_t value_width = (a->value_depth + SP_K_PANEL_COLUMNS - 1) / SP_K_PANEL_COLUMNS * SP_K_PANEL_COLUMNS;
    const float *const q = a->q + head * a->q_step;
    float *const turned = scratch, *const values = turned + width * a->depth,
                 *const scores = values + value_width * keys;
    float *const out = a->out + head * a->out_step;
    float inverse[SP_K_TILE_ROWS];
    if (keys == 0)
        return;
    sp_k_to_turned_panels(a->k + head * a->k_step, a->k_stride, keys, a->depth, turned);
    sp_k_to_panels(a->v + head * a->v_step, a->v_stride, keys, a->value_depth, values);
    SP_K_EACH_TILE(row, step, a->rows, 0, 1)
    {
        float *const here = out + row * a->out_stride;
        sp_k_plain_product(q + row * a->q_stride, a->q_stride, step, turned, a->depth, there, scores, width);
        sp_k_softmax(scores, width, there, keys, step, inverse);
        sp_k_plain_product(scores, width, step, values, keys, a->value_depth, here, a->out_stride);
        for (int32_t r = 0; r < step; ++r)
            for (int32_t c = 0; c < a->value_depth; ++c)
                here[r * a->out_stride + c] *= inverse[r];
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

#endif
