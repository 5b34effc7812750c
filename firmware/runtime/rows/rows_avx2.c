/* kernel_rows.h by AVX2. */
#include "spedge/kernel_rows_level.h"

#if defined(SP_K_X86_LEVELS)
#pragma GCC target("avx2,fma,no-avx512f")
#define SP_K_OF(function) function##_avx2
#include "spedge/kernel_rows_floats.h"
#include "spedge/kernel_rows_int8.h"
#endif

typedef int sp_k_rows_avx2_t; /* a file is never empty */
