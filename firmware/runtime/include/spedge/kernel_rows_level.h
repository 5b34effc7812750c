/* What kernel_rows.h and kernel_vector.h are computed by, once for each kind of vector instructions: a table of functions that do one item of
 * it, and the jobs that they are given. */
#ifndef SP_KERNEL_ROWS_LEVEL_H_INCLUDED
#define SP_KERNEL_ROWS_LEVEL_H_INCLUDED

#include <stdint.h>

enum { SP_K_PANEL_COLUMNS = 32 };

/* What becomes of a sum: times scale, plus bias, plus a matrix of the result's size (which may lie in its place), each
 * if there is one (not NULL), then GELU if so. bias and scale: up to the end of the last panel. */
typedef struct sp_k_end {
    const float *bias, *scale, *plus;
    float *out;
    int32_t plus_stride, out_stride, gelu;
} sp_k_end_t;

/* A product. x, w: float, or as the function takes them. */
typedef struct sp_k_product {
    const void *x, *w;
    int32_t x_stride, rows, depth, columns;
    sp_k_end_t end;
} sp_k_product_t;

typedef struct sp_k_attention {
    const float *q, *k, *v;
    int32_t q_stride, q_step, k_stride, k_step, v_stride, v_step;
    int32_t rows, keys, depth, value_depth;
    float *scratch, *out;
    int32_t scratch_size, out_stride, out_step;
} sp_k_attention_t;

/* Of the tiles of its rows, those of one of `parts` parts. */
typedef void sp_k_product_of_t(const sp_k_product_t *product, int32_t panel, int32_t part, int32_t parts);

typedef struct sp_k_level {
    const char *name;
    int32_t tile_rows; /* of a tile of sums, at most */
    sp_k_product_of_t *floats, *bytes, *int8;
    /* scratch: of the thread */
    void (*attention)(const sp_k_attention_t *attention, int32_t head, float *scratch);
    void (*norm)(const float *x, int32_t x_stride, int32_t rows, int32_t width, float inverse, float epsilon,
                 const float *scale, const float *shift, float *out, int32_t out_stride);
    void (*quantise)(const float *x, int32_t x_stride, int32_t rows, int32_t depth, float inverse, int16_t *out,
                     int32_t out_stride);
    void (*tile_4x8)(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth, float *sums);
} sp_k_level_t;

/* A level's functions: sp_k_product_floats_avx2, ... */
#define SP_K_FUNCTIONS(level) \
    sp_k_product_of_t sp_k_product_floats_##level, sp_k_product_bytes_##level, sp_k_product_int8_##level; \
    void sp_k_attention_##level(const sp_k_attention_t *attention, int32_t head, float *scratch); \
    void sp_k_norm_##level(const float *x, int32_t x_stride, int32_t rows, int32_t width, float inverse, \
                           float epsilon, const float *scale, const float *shift, float *out, int32_t out_stride); \
    void sp_k_quantise_##level(const float *x, int32_t x_stride, int32_t rows, int32_t depth, float inverse, \
                               int16_t *out, int32_t out_stride); \
    void sp_k_tile_4x8_##level(const float *x, int32_t x_stride, const float *w, int32_t w_stride, int32_t depth, \
                               float *sums);

SP_K_FUNCTIONS(baseline)
/* GCC compiles functions for other instructions than its flags name, with all that they include; for Clang there is the
 * baseline, which is what its flags say. */
#if defined(__x86_64__) && !defined(__clang__)
#define SP_K_X86_LEVELS 1
SP_K_FUNCTIONS(avx2)
SP_K_FUNCTIONS(avx512)
sp_k_product_of_t sp_k_product_int8_avx512vnni;
#elif defined(__aarch64__) && defined(__linux__) && !defined(__clang__)
#define SP_K_ARM_LEVELS 1
sp_k_product_of_t sp_k_product_int8_dotprod;
#endif

#endif
