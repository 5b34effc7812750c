/* A record of EVENT_DTYPE: t u64, x u16, y u16, p u8, packed, in the machine's order. */
#ifndef SP_RECORD_H_INCLUDED
#define SP_RECORD_H_INCLUDED

#include <string.h>

#include "inline.h"
#include "spedge/event.h"

#define SP_RECORD 13u
#define SP_RECORD_ROOM 16u /* what is written: behind the last record there has to be room for 3 bytes more */

/* The next record is written after this. */
SP_INLINE void sp_record_put(uint8_t *to, uint64_t t, uint32_t x, uint32_t y, uint32_t p)
{
    const sp_event_t event = {.t = t, .x = (uint16_t)x, .y = (uint16_t)y, .p = (uint8_t)p};
    memcpy(to, &event, SP_RECORD_ROOM);
}

#endif
