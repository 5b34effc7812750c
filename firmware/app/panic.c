#include "link.h"
#include "port.h"
#include "protocol.h"

#include "spedge/wire.h"

#include <string.h>

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    uint8_t payload[128];
    uint8_t encoded[160];
    size_t length = strlen(text) < 64u ? strlen(text) : 63u;
    uint8_t *p = sp_put_u16(payload, ERROR_FAULT);
    p = sp_put_u8(p, 0);
    p = sp_put_u32(p, detail_a);
    p = sp_put_u32(p, detail_b);
    p = sp_put_u8(p, (uint8_t)length);
    p = sp_put_bytes(p, text, length);
    const sp_frame_t frame = {MSG_ERROR, 0, 0, 0, payload, (size_t)(p - payload)};
    int n = sp_frame_encode(&frame, encoded + 1, sizeof encoded - 1);
    encoded[0] = 0; /* ends a frame that was cut */
    for (size_t done = 0; n > 0 && done < (size_t)n + 1;)
        done += port_write(encoded + done, (size_t)n + 1 - done);
    for (;;)
        port_idle();
}
