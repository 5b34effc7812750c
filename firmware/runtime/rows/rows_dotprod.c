/* Products of 8 bits by the dot products of Armv8.2; the rest is the baseline's. */
#include "spedge/kernel_rows_level.h"

#if defined(SP_K_ARM_LEVELS)
#pragma GCC target("arch=armv8.2-a+dotprod")
#define SP_K_OF(function) function##_dotprod
#include "spedge/kernel_rows_int8.h"
#endif

typedef int sp_k_rows_dotprod_t; /* a file is never empty */
