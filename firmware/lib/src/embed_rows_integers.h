/* The sum of embed_rows.h where the weights are integers in halves (integers.h). The same bits on every core. */
#ifndef SP_EMBED_ROWS_INTEGERS_H_INCLUDED
#define SP_EMBED_ROWS_INTEGERS_H_INCLUDED

#include "spedge/integers.h"

#include <string.h>

enum { EMBED_INTEGER_ROWS = 32, EMBED_SCALE_EXPONENT = 4 }; /* a scale is log(65536) at most */

/* out[i] += scales[0] rows[0][i] + scales[1] rows[1][i] + ...; n is at most EMBED_INTEGER_ROWS. Four outputs at a time. */
static inline void sp_embed_add_integers(float *out, const int32_t *const *rows, const float *scales, uint32_t n,
                                         uint32_t hidden, int32_t exponent)
{
    const int32_t up = 3, unit = exponent + EMBED_SCALE_EXPONENT + 2 * SP_INTEGER_HALF - up - 2 * SP_INTEGER_BITS;
    int32_t factors[EMBED_INTEGER_ROWS], block[EMBED_INTEGER_ROWS][4], sums[4];

    for (uint32_t r = 0; r < n; r++)
        factors[r] = sp_integer_halves(sp_integer_of(sp_integer_bits(scales[r]), EMBED_SCALE_EXPONENT));
    for (uint32_t i = 0; i < hidden; i += 4) {
        const uint32_t count = hidden - i < 4 ? hidden - i : 4;
        if (count == 4) {
            int32_t *to = block[0];
            for (uint32_t r = 0; r < n; r++, to += 4) {
                const int32_t *const row = rows[r] + i;
                const int32_t a = row[0], b = row[1], c = row[2], d = row[3];
                to[0] = a;
                to[1] = b;
                to[2] = c;
                to[3] = d;
            }
        } else {
            for (uint32_t r = 0; r < n; r++)
                memcpy(block[r], rows[r] + i, count * sizeof block[r][0]);
        }
        sp_integer_sums(block[0], factors, 1, (int32_t)n, up, sums);
        for (uint32_t j = 0; j < count; j++)
            out[i + j] += sp_integer_float(sums[j], unit);
    }
}

#endif
