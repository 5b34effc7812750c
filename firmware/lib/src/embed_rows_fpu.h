/* embed_rows.h by the FPU of an Armv7E-M or Armv8-M: sixteen outputs stay in registers for all rows, and one
 * instruction loads eight weights. */
#ifndef SP_EMBED_ROWS_FPU_H_INCLUDED
#define SP_EMBED_ROWS_FPU_H_INCLUDED

enum { EMBED_FPU_OUTPUTS = 16 };

/* Assembly, laid out by hand. */
/* clang-format off */
#define EMBED_FPU_ADD(d, w, s) "vfma.f32 s" #d ", s" #w ", s" #s "\n\t"
#define EMBED_FPU_ROW(at, s) \
    "vldmia " #at "!, {s16-s23}\n\t" \
    EMBED_FPU_ADD(0, 16, s) EMBED_FPU_ADD(1, 17, s) EMBED_FPU_ADD(2, 18, s) EMBED_FPU_ADD(3, 19, s) \
    EMBED_FPU_ADD(4, 20, s) EMBED_FPU_ADD(5, 21, s) EMBED_FPU_ADD(6, 22, s) EMBED_FPU_ADD(7, 23, s) \
    "vldmia " #at "!, {s16-s23}\n\t" \
    EMBED_FPU_ADD(8, 16, s) EMBED_FPU_ADD(9, 17, s) EMBED_FPU_ADD(10, 18, s) EMBED_FPU_ADD(11, 19, s) \
    EMBED_FPU_ADD(12, 20, s) EMBED_FPU_ADD(13, 21, s) EMBED_FPU_ADD(14, 22, s) EMBED_FPU_ADD(15, 23, s)

/* rows are moved on to the outputs that are left. */
static inline void sp_embed_add_rows(const float *start, float *out, const float **rows, const float *scales,
                                     uint32_t n, uint32_t hidden)
{
    uint32_t i = 0;
    for (; i + EMBED_FPU_OUTPUTS <= hidden; i += EMBED_FPU_OUTPUTS) {
        const float **row = rows;
        const float *scale = scales;
        uint32_t left = n;
        __asm__ volatile("vldmia %[start], {s0-s15}\n\t"
                         "tst %[left], #1\n\t"
                         "beq 0f\n\t"
                         "ldr r4, [%[row]]\n\t"
                         "vldmia %[scale]!, {s24}\n\t"
                         "sub %[left], #1\n\t"
                         EMBED_FPU_ROW(r4, 24)
                         "str r4, [%[row]], #4\n\t"
                         "0:\n\t"
                         "tst %[left], #2\n\t"
                         "beq 1f\n\t"
                         "ldrd r4, r5, [%[row]]\n\t"
                         "vldmia %[scale]!, {s24-s25}\n\t"
                         "sub %[left], #2\n\t"
                         EMBED_FPU_ROW(r4, 24)
                         EMBED_FPU_ROW(r5, 25)
                         "stmia %[row]!, {r4, r5}\n\t"
                         "1:\n\t"
                         "cmp %[left], #0\n\t"
                         "beq 3f\n\t"
                         "2:\n\t"
                         "ldmia %[row], {r4, r5, r6, r8}\n\t"
                         "vldmia %[scale]!, {s24-s27}\n\t"
                         "subs %[left], #4\n\t"
                         EMBED_FPU_ROW(r4, 24)
                         EMBED_FPU_ROW(r5, 25)
                         EMBED_FPU_ROW(r6, 26)
                         EMBED_FPU_ROW(r8, 27)
                         "stmia %[row]!, {r4, r5, r6, r8}\n\t"
                         "bne 2b\n\t"
                         "3:\n\t"
                         "vstmia %[out], {s0-s15}\n\t"
                         : [row] "+r"(row), [scale] "+r"(scale), [left] "+r"(left)
                         : [start] "r"(start + i), [out] "r"(out + i)
                         : "r4", "r5", "r6", "r8", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10",
                           "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23",
                           "s24", "s25", "s26", "s27", "cc", "memory");
    }
    /* clang-format on */
    for (; i < hidden; i++) {
        float sum = start[i];
        for (uint32_t r = 0; r < n; r++)
            sum = MULTIPLY_ADD(scales[r], *rows[r]++, sum);
        out[i] = sum;
    }
}

#define EMBED_FPU_ALL \
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15"

/* out[i] = row[i], sixteen at a time. */
static inline void sp_embed_copy(float *out, const float *row, size_t n)
{
    for (; n >= EMBED_FPU_OUTPUTS; n -= EMBED_FPU_OUTPUTS)
        __asm__ volatile("vldmia %[row]!, {s0-s15}\n\t"
                         "vstmia %[out]!, {s0-s15}"
                         : [out] "+r"(out), [row] "+r"(row)
                         :
                         : EMBED_FPU_ALL, "memory");
    for (; n > 0; n--)
        *out++ = *row++;
}

/* out[i] = 0: zeros are copied to what is behind them. */
static inline void sp_embed_clear(float *out, size_t n)
{
    const size_t first = n < EMBED_FPU_OUTPUTS ? n : EMBED_FPU_OUTPUTS;

    memset(out, 0, first * sizeof *out);
    sp_embed_copy(out + first, out, n - first);
}

/* out[i] += row[i], eight or four at a time. */
static inline void sp_embed_add(float *out, const float *row, uint32_t n)
{
    for (; n >= 8; n -= 8)
        __asm__ volatile("vldmia %[out], {s0-s7}\n\t"
                         "vldmia %[row]!, {s8-s15}\n\t"
                         "vadd.f32 s0, s0, s8\n\t"
                         "vadd.f32 s1, s1, s9\n\t"
                         "vadd.f32 s2, s2, s10\n\t"
                         "vadd.f32 s3, s3, s11\n\t"
                         "vadd.f32 s4, s4, s12\n\t"
                         "vadd.f32 s5, s5, s13\n\t"
                         "vadd.f32 s6, s6, s14\n\t"
                         "vadd.f32 s7, s7, s15\n\t"
                         "vstmia %[out]!, {s0-s7}"
                         : [out] "+r"(out), [row] "+r"(row)
                         :
                         : EMBED_FPU_ALL, "memory");
    if (n >= 4) {
        __asm__ volatile("vldmia %[out], {s0-s3}\n\t"
                         "vldmia %[row]!, {s8-s11}\n\t"
                         "vadd.f32 s0, s0, s8\n\t"
                         "vadd.f32 s1, s1, s9\n\t"
                         "vadd.f32 s2, s2, s10\n\t"
                         "vadd.f32 s3, s3, s11\n\t"
                         "vstmia %[out]!, {s0-s3}"
                         : [out] "+r"(out), [row] "+r"(row)
                         :
                         : EMBED_FPU_ALL, "memory");
        n -= 4;
    }
    for (; n > 0; n--)
        *out++ += *row++;
}

#endif
