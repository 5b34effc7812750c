/* kernel_rows.h by what every machine of the kind has: SSE2 on x86-64, NEON on aarch64, elsewhere what the flags say. */
#include "spedge/kernel_rows_level.h"

#if defined(SP_K_X86_LEVELS)
#pragma GCC target("no-avx")
#endif
#define SP_K_OF(function) function##_baseline
#include "spedge/kernel_rows_floats.h"
#include "spedge/kernel_rows_int8.h"
