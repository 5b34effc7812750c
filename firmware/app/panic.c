#include "link.h"
#include "port.h"
#include "protocol.h"
#include "spedge/assert.h"

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    uint8_t frame[160];
    const size_t n = app_link_error(ERROR_FAULT, text, detail_a, detail_b, frame, sizeof frame);
    for (size_t done = 0; done < n;)
        done += port_write(frame + done, n - done);
    for (;;)
        port_idle();
}

#ifdef SP_DEBUG
/* The library was used in a way that it does not allow: detail is the line, the text what does not hold. */
void sp_assert_failed(const char *file, int line, const char *condition)
{
    (void)file;
    app_panic(condition, (uint32_t)line, 0);
}
#endif
