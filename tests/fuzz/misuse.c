/* The library is built with SP_DEBUG: whoever calls it in a way that it does not allow is found, too. */
#define SP_DEBUG
#include "spedge/assert.h"

#include <stdio.h>
#include <stdlib.h>

void sp_assert_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: misuse: %s does not hold\n", file, line, condition);
    abort();
}
