/* kernel_panel.h, on: what kernels call, of a panel's rows for those that are wanted. */
#ifndef SP_KERNEL_PANEL_WANTED_H_INCLUDED
#define SP_KERNEL_PANEL_WANTED_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SP_K_PANEL_FEW
#define SP_K_PANEL_FEW 2
#endif

#ifndef SP_K_PANEL_TILES /* where the core's own file has none */
static inline void sp_k_panel_tiles(const float *start, int32_t apart, const float *w, const float *x, int32_t steps,
                                    int32_t tiles, float *sums)
{
    for (; tiles > 0; --tiles, start += apart, w += 4 * steps, sums += 16)
        sp_k_panel_sums(start, w, x, steps, sums);
}

static inline void sp_k_panel_tiles_plus(const float *start, const float *plus, const float *w, const float *x,
                                         int32_t steps, int32_t tiles, float *sums)
{
    for (; tiles > 0; --tiles, start += 16, plus += 16, w += 4 * steps, sums += 16)
        sp_k_panel_plus(start, plus, w, x, steps, sums);
}
#endif

#ifndef SP_K_PANEL_LOOPS
SP_K_INTO void sp_k_panel_tiles_gelu(const float *start, const float *w, const float *x, int32_t steps, int32_t tiles,
                                     const float *zero, int within, float *sums)
{
    sp_k_panel_tiles(start, 16, w, x, steps, tiles, sums);
    sp_k_panel_gelu_columns(sums, 4 * tiles, zero, within);
}

static inline void sp_k_panel_few_tiles(const float *start, int32_t apart, const float *w, const float *x,
                                        int32_t steps, int32_t tiles, int32_t rows, float *sums)
{
    for (; tiles > 0; --tiles, start += apart, w += 4 * steps, sums += 16) {
        if (sums != start)
            memcpy(sums, start, 16 * sizeof *sums);
        sp_k_panel_few(w, x, steps, rows, sums, 4, 1);
    }
}

static inline void sp_k_panel_few_rows(const float *start, const float *w, const float *x, int32_t steps, int32_t rows,
                                       float *sums)
{
    if (sums != start)
        memcpy(sums, start, 16 * sizeof *sums);
    sp_k_panel_few(w, x, steps, rows, sums, 1, 4);
}
#endif

/* Below, `rows` is how many of a panel's four rows are wanted, at least 1; of the others what they start from may be left.
 * More than SP_K_PANEL_FEW cost no less than four. */

/* Tiles of four columns w of a product: sums[c][r] = start[c][r] + w[0][c] x[0][r] + ...; sums may be start. What the
 * next tile starts from is `apart` floats behind, its weights and sums follow. */
static inline void sp_k_panel_columns(const float *start, int32_t apart, const float *w, const float *x, int32_t steps,
                                      int32_t tiles, int32_t rows, float *sums)
{
    if (rows > SP_K_PANEL_FEW)
        sp_k_panel_tiles(start, apart, w, x, steps, tiles, sums);
    else
        sp_k_panel_few_tiles(start, apart, w, x, steps, tiles, rows, sums);
}

/* One tile with sums[r][c], start[r][c]. */
static inline void sp_k_panel_rows(const float *start, const float *x, const float *w, int32_t steps, int32_t rows,
                                   float *sums)
{
    if (rows > SP_K_PANEL_FEW)
        sp_k_panel_sums(start, x, w, steps, sums);
    else
        sp_k_panel_few_rows(start, w, x, steps, rows, sums);
}

/* The same, starting from four columns own[c][r]. */
static inline void sp_k_panel_keep(const float *own, const float *x, const float *w, int32_t steps, int32_t rows,
                                   float *sums)
{
    if (rows > SP_K_PANEL_FEW) {
        sp_k_panel_turned(own, x, w, steps, sums);
    } else {
        sp_k_panel_turned(own, x, w, 0, sums);
        sp_k_panel_few_rows(sums, w, x, steps, rows, sums);
    }
}

/* Tiles of sums[c][r] = plus[c][r] + start[c][r] + w[0][c] x[0][r] + ...; sums may be plus. All follow each other. */
static inline void sp_k_panel_add(const float *start, const float *plus, const float *w, const float *x, int32_t steps,
                                  int32_t tiles, int32_t rows, float *sums)
{
    if (rows > SP_K_PANEL_FEW) {
        sp_k_panel_tiles_plus(start, plus, w, x, steps, tiles, sums);
        return;
    }
    for (int32_t i = 0; i < 16 * tiles; i += 16)
        sp_k_panel_plus(start + i, plus + i, w, x, 0, sums + i);
    sp_k_panel_few_tiles(sums, 16, w, x, steps, tiles, rows, sums);
}

SP_K_APART void sp_k_panel_gelu_of_one(float *x, int32_t columns, const float *zero)
{
    for (; columns > 0; columns -= 4, x += 16) {
        float four[4] = {x[0], x[4], x[8], x[12]};
        sp_k_panel_gelu(four, zero);
        for (int c = 0; c < 4; ++c)
            x[4 * c] = four[c];
    }
}

/* sp_k_panel_gelu_columns of a number of columns that is a multiple of four. */
SP_K_INTO void sp_k_panel_gelus(float *x, int32_t columns, const float *zero, int within, int32_t rows)
{
    if (rows > 1)
        sp_k_panel_gelu_columns(x, columns, zero, within);
    else
        sp_k_panel_gelu_of_one(x, columns, zero);
}

/* sp_k_panel_columns, start[16 tiles], and the GELU of all sums. */
SP_K_INTO void sp_k_panel_columns_gelu(const float *start, const float *w, const float *x, int32_t steps, int32_t tiles,
                                       int32_t rows, const float *zero, int within, float *sums)
{
    if (rows > SP_K_PANEL_FEW) {
        sp_k_panel_tiles_gelu(start, w, x, steps, tiles, zero, within, sums);
    } else {
        sp_k_panel_few_tiles(start, 16, w, x, steps, tiles, rows, sums);
        sp_k_panel_gelus(sums, 4 * tiles, zero, within, rows);
    }
}

/* Scores as large as this are brought near zero first: a whole number beside SP_K_MAGIC takes 23 bits. */
#define SP_K_SCORE_LIMIT 1048576.0f

SP_K_APART void sp_k_panel_lower(float *scores, int32_t keys, float *top)
{
    for (int32_t j = 0; j < keys; ++j)
        for (int r = 0; r < 4; ++r)
            scores[4 * j + r] -= top[r];
    for (int r = 0; r < 4; ++r)
        top[r] = 0.0f;
}

/* Of one row, four keys at a time; what is left of the last four is overwritten. */
SP_K_APART void sp_k_panel_powers_of_one(float *scores, int32_t keys, float shift, const float *table, float *total)
{
    const float shifts[4] = {shift, shift, shift, shift};
    total[0] = 0.0f;
    total[1] = total[2] = total[3] = 1.0f; /* of nothing; they are divided by */
    for (int32_t j = 0; j < keys; j += 4, scores += 16) {
        float four[4], part[4];
        for (int i = 0; i < 4; ++i)
            four[i] = j + i < keys ? scores[4 * i] : -SP_K_MAGIC;
        sp_k_panel_powers(four, 1, shifts, table, part);
        for (int i = 0; i < 4; ++i) {
            scores[4 * i] = four[i];
            total[0] += four[i];
        }
    }
}

/* scores[j][r] = 2^((scores[j][r] - top[r]) / 8), all of a row times the same number near one; total[r]: their sum over
 * `keys` keys. top[r]: the row's largest score; it may be changed. Of one row, `keys` are rounded up to fours. */
static inline void sp_k_panel_exp2(float *scores, int32_t keys, float *top, const float *table, int32_t rows,
                                   float *total)
{
    float shift[4];
    for (int r = 0; r < 4; ++r)
        if (!(top[r] > -SP_K_SCORE_LIMIT && top[r] < SP_K_SCORE_LIMIT))
            sp_k_panel_lower(scores, keys, top);
    for (int r = 0; r < 4; ++r)
        shift[r] = SP_K_MAGIC - (float)((int32_t)top[r] + 1);
    if (rows > 1)
        sp_k_panel_powers(scores, keys, shift, table, total);
    else
        sp_k_panel_powers_of_one(scores, keys, shift[0], table, total);
}

SP_K_APART void sp_k_panel_powers_within_of_one(float *scores, int32_t keys, const float *table, float *total)
{
    total[0] = 0.0f;
    total[1] = total[2] = total[3] = 1.0f; /* of nothing; they are divided by */
    for (int32_t j = 0; j < keys; j += 4, scores += 16) {
        float four[4], part[4];
        for (int i = 0; i < 4; ++i)
            four[i] = j + i < keys ? scores[4 * i] : 0.0f;
        sp_k_panel_powers_within(four, 1, table, part);
        for (int i = 0; i < 4 && j + i < keys; ++i) {
            scores[4 * i] = four[i];
            total[0] += four[i];
        }
    }
}

/* sp_k_panel_powers_within of the rows that are wanted. */
static inline void sp_k_panel_exp2_within(float *scores, int32_t keys, const float *table, int32_t rows, float *total)
{
    if (rows > 1)
        sp_k_panel_powers_within(scores, keys, table, total);
    else
        sp_k_panel_powers_within_of_one(scores, keys, table, total);
}

#ifdef __cplusplus
}
#endif

#endif
