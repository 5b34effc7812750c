/* kernel_rows.h by AVX512. */
#include "spedge/kernel_rows_level.h"

#if defined(SP_K_X86_LEVELS)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,no-avx512vnni,prefer-vector-width=512")
#define SP_K_OF(function) function##_avx512
#include "spedge/kernel_rows_floats.h"
#include "spedge/kernel_rows_int8.h"
#endif

typedef int sp_k_rows_avx512_t; /* a file is never empty */
