/* Products of 8 bits by AVX-512 with VNNI; the rest is AVX-512's. */
#include "spedge/kernel_rows_level.h"

#if defined(SP_K_X86_LEVELS)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,prefer-vector-width=512")
#define SP_K_OF(function) function##_avx512vnni
#include "spedge/kernel_rows_int8.h"
#endif

typedef int sp_k_rows_avx512vnni_t; /* a file is never empty */
