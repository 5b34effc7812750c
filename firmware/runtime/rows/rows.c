/* kernel_rows.h and kernel_vector.h: which vector instructions, and which thread does what. */
#include "spedge/kernel_rows.h"

#include "spedge/error.h"
#include "spedge/kernel_rows_level.h"
#include "spedge/kernel_vector.h"
#include "spedge/threads.h"

#include <stddef.h>
#include <string.h>
#if defined(SP_K_ARM_LEVELS)
#include <sys/auxv.h>
#endif

/* Multiply-accumulates that a thread is worth being told of: some ten microseconds. Of numbers that are only gone through,
 * as many. */
enum { GRAIN = 1 << 19, NUMBERS = 1 << 15, NORM_ROWS = 8 };

/* ---------------------------------------------------------------- levels */

#define SP_K_LEVEL(level, its_int8, rows) \
    {#its_int8, \
     rows, \
     sp_k_product_floats_##level, \
     sp_k_product_bytes_##level, \
     sp_k_product_int8_##its_int8, \
     sp_k_attention_##level, \
     sp_k_norm_##level, \
     sp_k_quantise_##level, \
     sp_k_tile_4x8_##level}

/* The best one last. */
static const sp_k_level_t levels[] = {
#if defined(SP_K_X86_LEVELS)
    SP_K_LEVEL(baseline, baseline, 4),
    SP_K_LEVEL(avx2, avx2, 5),
    SP_K_LEVEL(avx512, avx512, 12),
    SP_K_LEVEL(avx512, avx512vnni, 12),
#elif defined(SP_K_ARM_LEVELS)
    SP_K_LEVEL(baseline, baseline, 8),
    SP_K_LEVEL(baseline, dotprod, 8),
#else
    SP_K_LEVEL(baseline, baseline, 4),
#endif
};

/* How many of them this machine has. */
static int levels_here(void)
{
#if defined(SP_K_X86_LEVELS)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 1;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx512vnni") ? 4 : 3;
#elif defined(SP_K_ARM_LEVELS)
    return getauxval(AT_HWCAP) & (1ul << 20) /* HWCAP_ASIMDDP */ ? 2 : 1;
#else
    return 1;
#endif
}

static const sp_k_level_t *chosen;

static const sp_k_level_t *level(void)
{
    if (chosen == NULL)
        chosen = &levels[levels_here() - 1];
    return chosen;
}

int sp_k_rows_use(uint32_t threads, const char *vectors)
{
    const int here = levels_here();
    int at = here - 1;
    if (threads < 1 || threads > SP_THREADS_MOST || sp_threads_start(threads) != threads)
        return SP_ERR_CONFIG;
    if (vectors != NULL)
        for (at = 0; at < here && strcmp(levels[at].name, vectors) != 0;)
            ++at;
    if (at == here)
        return SP_ERR_CONFIG;
    chosen = &levels[at];
    return SP_OK;
}

/* ---------------------------------------------------------------- products */

typedef struct products {
    sp_k_product_of_t *of;
    const sp_k_product_t *product;
    int32_t parts;
} products_t;

static void do_product(const void *context, int32_t item, int32_t worker)
{
    const products_t *const all = (const products_t *)context;
    (void)worker;
    all->of(all->product, item / all->parts, item % all->parts, all->parts);
}

/* Threads that so much work is worth, of those that there are. */
static int32_t worth(int64_t work, int64_t grain)
{
    const int64_t most = work / grain, there = sp_threads();
    return (int32_t)(most < there ? most : there);
}

/* Panels are shared, and where they are few the rows of each. */
static void share(sp_k_product_of_t *of, const sp_k_product_t *product)
{
    const int32_t panels = (product->columns + SP_K_PANEL_COLUMNS - 1) / SP_K_PANEL_COLUMNS;
    const int32_t tiles = (product->rows + level()->tile_rows - 1) / level()->tile_rows;
    const int32_t threads = worth((int64_t)product->rows * product->depth * product->columns, GRAIN);
    products_t all = {of, product, 1};
    if (product->rows <= 0)
        return;
    while (threads > 1 && panels * all.parts < 4 * threads && 2 * all.parts <= tiles)
        all.parts *= 2;
    sp_threads_share(do_product, &all, panels * all.parts, threads);
}

void sp_k_rows_product(const float *x, int32_t x_stride, int32_t rows, const float *w, int32_t depth, int32_t columns,
                       const float *bias, const float *plus, int32_t plus_stride, int32_t gelu, float *out,
                       int32_t out_stride)
{
    const sp_k_end_t end = {bias, NULL, plus, out, plus_stride, out_stride, gelu};
    const sp_k_product_t product = {x, w, x_stride, rows, depth, columns, end};
    share(level()->floats, &product);
}

void sp_k_rows_product_bytes(const float *x, int32_t x_stride, int32_t rows, const int8_t *w, int32_t depth,
                             int32_t columns, const float *scale, const float *bias, const float *plus,
                             int32_t plus_stride, int32_t gelu, float *out, int32_t out_stride)
{
    const sp_k_end_t end = {bias, scale, plus, out, plus_stride, out_stride, gelu};
    const sp_k_product_t product = {x, w, x_stride, rows, depth, columns, end};
    share(level()->bytes, &product);
}

void sp_k_rows_product_int8(const int16_t *x, int32_t x_stride, int32_t rows, const int8_t *w, int32_t depth,
                            int32_t columns, const float *scale, const float *bias, const float *plus,
                            int32_t plus_stride, int32_t gelu, float *out, int32_t out_stride)
{
    const sp_k_end_t end = {bias, scale, plus, out, plus_stride, out_stride, gelu};
    const sp_k_product_t product = {x, w, x_stride, rows, depth, columns, end};
    share(level()->int8, &product);
}

void sp_k_tile_4x8(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth, float *sums)
{
    level()->tile_4x8(x, x_stride, w, w_stride, depth, sums);
}

/* ---------------------------------------------------------------- rows */

typedef struct norms {
    const float *x, *scale, *shift;
    float *out;
    int32_t x_stride, out_stride, rows, width;
    float inverse, epsilon;
} norms_t;

static void do_norm(const void *context, int32_t item, int32_t worker)
{
    const norms_t *const n = (const norms_t *)context;
    const int32_t first = item * NORM_ROWS, left = n->rows - first;
    (void)worker;
    level()->norm(n->x + first * n->x_stride, n->x_stride, left < NORM_ROWS ? left : NORM_ROWS, n->width, n->inverse,
                  n->epsilon, n->scale, n->shift, n->out + first * n->out_stride, n->out_stride);
}

void sp_k_rows_norm(const float *x, int32_t x_stride, int32_t rows, int32_t width, float inverse, float epsilon,
                    const float *scale, const float *shift, float *out, int32_t out_stride)
{
    const norms_t all = {x, scale, shift, out, x_stride, out_stride, rows, width, inverse, epsilon};
    sp_threads_share(do_norm, &all, (rows + NORM_ROWS - 1) / NORM_ROWS, worth((int64_t)rows * width, NUMBERS));
}

void sp_k_rows_quantise(const float *x, int32_t x_stride, int32_t rows, int32_t depth, float inverse, int16_t *out,
                        int32_t out_stride)
{
    level()->quantise(x, x_stride, rows, depth, inverse, out, out_stride);
}

/* ---------------------------------------------------------------- attention */

static void do_head(const void *context, int32_t item, int32_t worker)
{
    const sp_k_attention_t *const a = (const sp_k_attention_t *)context;
    level()->attention(a, item, a->scratch + worker * a->scratch_size);
}

void sp_k_rows_attention(const float *q, int32_t q_stride, int32_t q_step, const float *k, int32_t k_stride,
                         int32_t k_step, const float *v, int32_t v_stride, int32_t v_step, int32_t rows, int32_t keys,
                         int32_t depth, int32_t value_depth, int32_t heads, float *scratch, int32_t scratch_size,
                         int32_t workers, float *out, int32_t out_stride, int32_t out_step)
{
    const sp_k_attention_t all = {q,           k,        v,      q_stride,     q_step,     k_stride,
                                  k_step,      v_stride, v_step, rows,         keys,       depth,
                                  value_depth, scratch,  out,    scratch_size, out_stride, out_step};
    const int32_t threads = worth((int64_t)heads * rows * keys * (depth + value_depth), GRAIN);
    sp_threads_share(do_head, &all, heads, threads < workers ? threads : workers);
}
