/* The program behind `spedge bench products`: one product of kernel_rows.h, or its loop, for Linux.
 *   products fp32|int8w|int8 VECTORS|best|loop ROWS DEPTH COLUMNS INVERSE < x, w, scale, bias > out
 * x: float, which int8 rounds to bytes times INVERSE. w: as the product or the loop takes it; scale, bias: a float for each
 * column of the panels, but of those that there are for a loop. Ends with 2 where the vectors are not there, 3 where the input ends early. */
#include "loops.h"
#include "spedge/kernel_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL = 32 };

static int32_t rows, depth, columns;
static float inverse;

static void *room(size_t items, size_t size)
{
    void *const made = calloc(items + 1, size); /* of nothing, too, there is an address */
    if (made == NULL)
        exit(4);
    return made;
}

static void *taken(size_t items, size_t size)
{
    void *const made = room(items, size);
    if (fread(made, size, items, stdin) != items)
        exit(3);
    return made;
}

static void by_loop(const char *kind, const float *x, const void *w, const float *scale, const float *bias, float *out)
{
    const size_t numbers = (size_t)rows * (size_t)depth;
    int8_t *const rounded = (int8_t *)room(numbers, 1);
    if (strcmp(kind, "fp32") == 0)
        loop_fp32(x, (const float *)w, bias, rows, depth, columns, out);
    else if (strcmp(kind, "int8w") == 0)
        loop_int8w(x, (const int8_t *)w, scale, bias, rows, depth, columns, out);
    else {
        for (size_t i = 0; i < numbers; ++i)
            rounded[i] = (int8_t)fmaxf(-128.0f, fminf(127.0f, rintf(x[i] * inverse)));
        loop_int8(rounded, (const int8_t *)w, scale, bias, rows, depth, columns, out);
    }
    free(rounded);
}

static void by_kernel(const char *kind, const float *x, const void *w, const float *scale, const float *bias,
                      float *out)
{
    const int32_t even = depth + depth % 2;
    int16_t *const rounded = (int16_t *)room((size_t)rows * (size_t)even, sizeof *rounded);
    if (strcmp(kind, "fp32") == 0)
        sp_k_rows_product(x, depth, rows, (const float *)w, depth, columns, bias, NULL, 0, 0, out, columns);
    else if (strcmp(kind, "int8w") == 0)
        sp_k_rows_product_bytes(x, depth, rows, (const int8_t *)w, depth, columns, scale, bias, NULL, 0, 0, out,
                                columns);
    else {
        sp_k_rows_quantise(x, depth, rows, depth, inverse, rounded, even);
        sp_k_rows_product_int8(rounded, even, rows, (const int8_t *)w, even, columns, scale, bias, NULL, 0, 0, out,
                               columns);
    }
    free(rounded);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return 1;
    const char *const kind = argv[1], *const vectors = argv[2];
    const int looped = strcmp(vectors, "loop") == 0, floats = strcmp(kind, "fp32") == 0;
    rows = atoi(argv[3]);
    depth = atoi(argv[4]);
    columns = atoi(argv[5]);
    inverse = strtof(argv[6], NULL);
    if (!looped && sp_k_rows_use(1, strcmp(vectors, "best") == 0 ? NULL : vectors) != 0)
        return 2;
    const size_t wide = (size_t)(looped ? columns : (columns + PANEL - 1) / PANEL * PANEL);
    const size_t steps = (size_t)(depth + (strcmp(kind, "int8") == 0 && !looped ? depth % 2 : 0));
    const size_t numbers = (size_t)rows * (size_t)columns;
    float *const x = (float *)taken((size_t)rows * (size_t)depth, sizeof *x);
    void *const w = taken(steps * wide, floats ? sizeof(float) : 1);
    float *const scale = (float *)taken(wide, sizeof *scale), *const bias = (float *)taken(wide, sizeof *bias);
    float *const out = (float *)room(numbers, sizeof *out);
    (looped ? by_loop : by_kernel)(kind, x, w, scale, bias, out);
    return fwrite(out, sizeof *out, numbers, stdout) == numbers ? 0 : 3;
}
