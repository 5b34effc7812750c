#include "harness.h"
#include "spedge/error.h"

#include <string.h>

TEST(error_every_code_has_its_own_sentence)
{
    for (int a = SP_ERR_CAPACITY; a <= SP_TIME; a++) {
        CHECK(strcmp(sp_strerror(a), sp_strerror(1000)) != 0);
        for (int b = SP_ERR_CAPACITY; b < a; b++)
            CHECK(strcmp(sp_strerror(a), sp_strerror(b)) != 0);
    }
    CHECK(sp_strerror(-1000) != NULL);
}
