/* Events of a larger sensor on a part of it, as the tokenizer's sensor sees them. */
#ifndef SP_PART_H_INCLUDED
#define SP_PART_H_INCLUDED

#include "inline.h"
#include "spedge/pipeline.h"

SP_INLINE int sp_sees_part(const sp_pipeline_config_t *config)
{
    return config->bin > 1 || config->left > 0 || config->top > 0;
}

/* A pixel of the larger sensor on the tokenizer's; what is before it wraps, and is far outside. */
SP_INLINE uint16_t sp_on_part(uint32_t pixel, uint32_t first, uint32_t bin)
{
    const uint32_t to = (pixel - first) / bin;
    return to < UINT16_MAX ? (uint16_t)to : UINT16_MAX;
}

SP_INLINE void sp_map_events(const sp_pipeline_config_t *config, sp_event_t *events, size_t n)
{
    const uint32_t bin = config->bin > 1 ? config->bin : 1u;
    for (size_t i = 0; i < n; i++) {
        events[i].x = sp_on_part(events[i].x, config->left, bin);
        events[i].y = sp_on_part(events[i].y, config->top, bin);
    }
}

#endif
