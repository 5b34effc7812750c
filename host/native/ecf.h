/* ECF, the codec of the events in Prophesee's HDF5 files, a block at a time. */
#ifndef SP_ECF_H_INCLUDED
#define SP_ECF_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#include "spedge/event.h"

#define SP_ECF_EVENTS_MAX 65535u

/* The events that a block of n bytes says it holds, or SP_ERR_FORMAT: its header is damaged. */
int32_t sp_ecf_count(const uint8_t *block, size_t n);

/* Decode a block into as many events. Returns SP_OK, or SP_ERR_FORMAT when its bytes end early. */
int sp_ecf_decode(const uint8_t *block, size_t n, sp_event_t *events);

#endif
