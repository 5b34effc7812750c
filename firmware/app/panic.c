#include "link.h"
#include "port.h"
#include "protocol.h"

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    uint8_t frame[160];
    const size_t n = app_link_error(ERROR_FAULT, text, detail_a, detail_b, frame, sizeof frame);
    for (size_t done = 0; done < n;)
        done += port_write(frame + done, n - done);
    for (;;)
        port_idle();
}
