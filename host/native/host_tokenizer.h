/* The tokenizers for a host: no bound on memory, whole arrays in, flat tokens out.
 * An implementation of their own, which shares no code with firmware/lib's; tests find them equal, token by token and event
 * by event. These trade memory for speed: a patch keeps its pending events as the records that come out, in a piece of
 * memory of its own. */
#ifndef SP_HOST_TOKENIZER_H_INCLUDED
#define SP_HOST_TOKENIZER_H_INCLUDED

#include "columns.h"
#include "token_list.h"

typedef struct sp_host_config {
    uint32_t width, height, patch_size;
    uint8_t discrete;
    double threshold; /* discrete: a whole number */
    uint64_t absolute_refractory_us, relative_refractory_us;
    double relative_scale, decay_per_us;
    uint64_t duration_us; /* discrete */
} sp_host_config_t;

/* Where the events went; pending is the rest. */
typedef struct sp_host_stats {
    uint64_t taken, in_tokens, refractory, discarded, tokens;
    uint64_t pending_peak;
} sp_host_stats_t;

typedef struct sp_host sp_host_t;

/* NULL without memory. The configuration has been checked. */
sp_host_t *sp_host_new(const sp_host_config_t *config);
void sp_host_free(sp_host_t *h);
void sp_host_reset(sp_host_t *h);

/* Push n events, the first not older than last_t. Appends to tokens, and their events' records to out, which has room
 * for all events pending and given, and 3 bytes. *good is the index of the first wrong event, of which sp_columns_check
 * tells, and then the tokenizer has not changed; or n. Returns the end of the records, or NULL without memory: reset
 * then. */
uint8_t *sp_host_push(sp_host_t *h, const sp_columns_t *events, size_t n, uint64_t last_t, size_t *good,
                      sp_token_list_t *tokens, uint8_t *out);

/* Events waiting in patches, counted from what the patches hold. */
uint64_t sp_host_pending(const sp_host_t *h);
sp_host_stats_t sp_host_stats(const sp_host_t *h);

typedef struct sp_voxel_config {
    uint32_t width, height, patch_size;
    uint32_t threshold;
    uint64_t duration_us;
} sp_voxel_config_t;

/* The voxel tokenizer on one chunk; the arguments are as for sp_host_push, and nothing that was appended counts where there
 * is a wrong event. *discarded counts events of voxels below the threshold. The bins up to the last time's have to fit 64
 * bits of time. */
uint8_t *sp_voxel_tokens(const sp_voxel_config_t *config, const sp_columns_t *events, size_t n, size_t *good,
                         sp_token_list_t *tokens, uint8_t *out, uint64_t *discarded);

#endif
