/* The event record, one for the whole library. */
#ifndef SP_EVENT_H_INCLUDED
#define SP_EVENT_H_INCLUDED

#include <stdint.h>

/* t: microseconds of the sensor's clock; x, y: pixel column and row;
 * p: polarity, 0 off, 1 on. 16 bytes on every target we build for. */
typedef struct sp_event {
    uint64_t t;
    uint16_t x;
    uint16_t y;
    uint8_t p;
    uint8_t reserved[3];
} sp_event_t;

#endif
