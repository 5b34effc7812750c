/* Leave out events evenly when a device is too slow for all: over time, over the sensor's patches, over what repeats. */
#ifndef SP_THIN_H_INCLUDED
#define SP_THIN_H_INCLUDED

#include "event.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SP_THIN_ALL 256u /* keep every event */

/* The debt of each patch is carried on: how many events it is owed, in units of 1/256. Whether an event is kept is drawn
 * against it, so that no pattern in the events (a scan, polarities in turn) meets a pattern in the choice, and the events
 * kept of a patch never differ from its share by more than one. */
typedef struct sp_thin {
    int16_t *debts; /* [columns * rows], the caller's */
    uint32_t columns, rows;
    uint32_t random;
    uint16_t patch_size;
} sp_thin_t;

/* Bytes that the debts need, 0 if a size is 0. */
size_t sp_thin_size(uint16_t width, uint16_t height, uint16_t patch_size);

/* mem: sp_thin_size bytes, 2-byte aligned, the caller's to keep. The sizes must not be 0. */
void sp_thin_init(sp_thin_t *thin, uint16_t width, uint16_t height, uint16_t patch_size, void *mem);

/* Forget all debts; the choices begin anew and are the same as then. */
void sp_thin_reset(sp_thin_t *thin);

/* Keep about `keep` in 256 of the n events, in place and in order; returns how many. keep SP_THIN_ALL or more: all of
 * them. Events outside the sensor share one patch with others. Never blocks. */
size_t sp_thin_events(sp_thin_t *thin, sp_event_t *events, size_t n, uint32_t keep);

#ifdef __cplusplus
}
#endif
#endif
