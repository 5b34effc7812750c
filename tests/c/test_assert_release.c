/* SP_ASSERT as in a release: not looked at, and its names are used. */
#undef SP_DEBUG
#include "spedge/assert.h"

#include "harness.h"

TEST(assert_is_not_looked_at_in_a_release)
{
    int looked = 0;
    SP_ASSERT(++looked > 1000);
    CHECK_EQ(looked, 0);
}
