# What the bindings use of firmware/lib.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "spedge/error.h" nogil:
    enum:
        SP_OK
        SP_TOKEN
        SP_MORE
    const char *sp_strerror(int code)

cdef extern from "spedge/frame.h" nogil:
    ctypedef struct sp_frame_t:
        uint8_t type, flags
        uint16_t seq
        uint32_t session
        const uint8_t *payload
        size_t length
    size_t sp_frame_max_encoded(size_t payload)
    int sp_frame_encode(const sp_frame_t *frame, uint8_t *out, size_t capacity)

cdef extern from "spedge/event.h" nogil:
    ctypedef struct sp_event_t:
        uint64_t t
        uint16_t x
        uint16_t y
        uint8_t p

cdef extern from "spedge/tokenizer.h" nogil:
    enum:
        SP_POOL_EVICTS
        SP_KIND_VOXEL
    ctypedef struct sp_tokenizer_config_t:
        uint16_t width, height, patch_size
        uint8_t pool_policy, kind
        uint32_t pool_events
        double threshold
        uint64_t absolute_refractory_us, relative_refractory_us
        double relative_scale, decay_per_us
        uint64_t duration_us
    ctypedef struct sp_tokenizer_stats_t:
        uint64_t taken, in_tokens, pending, refractory, decayed, pool_lost, outside, backwards, tokens
        uint32_t pool_used, pool_peak
    ctypedef struct sp_token_t:
        uint64_t t
        uint16_t x, y
        uint32_t n
    ctypedef struct sp_tokenizer_t:
        pass
    ctypedef struct sp_token_cursor_t:
        pass
    size_t sp_tokenizer_size(const sp_tokenizer_config_t *config)
    int sp_tokenizer_init(sp_tokenizer_t **tok, const sp_tokenizer_config_t *config, void *mem, size_t size)
    void sp_tokenizer_reset(sp_tokenizer_t *tok)
    int sp_tokenizer_push(sp_tokenizer_t *tok, const sp_event_t *events, size_t n, size_t *used)
    int sp_tokenizer_end(sp_tokenizer_t *tok)
    const sp_token_t *sp_tokenizer_token(const sp_tokenizer_t *tok)
    void sp_token_cursor_init(sp_token_cursor_t *cursor, const sp_tokenizer_t *tok)
    size_t sp_token_cursor_read(sp_token_cursor_t *cursor, sp_event_t *out, size_t capacity)
    void sp_tokenizer_stats(const sp_tokenizer_t *tok, sp_tokenizer_stats_t *stats)
    const sp_tokenizer_config_t *sp_tokenizer_config(const sp_tokenizer_t *tok)

cdef extern from "spedge/embed.h" nogil:
    ctypedef struct sp_embed_config_t:
        uint16_t patch_size, hidden
        uint8_t buckets
        float time_scale_us
        const float *weight
        const float *bias
    int sp_embed_config_check(const sp_embed_config_t *config, sp_embed_config_t *full)
    size_t sp_embed_cells(const sp_embed_config_t *config)
    void sp_embed_volume(const sp_embed_config_t *config, const sp_event_t *events, size_t n, uint16_t *volume)
    size_t sp_embed_scratch_size(const sp_embed_config_t *config)
    size_t sp_embed_sparse(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                           uint32_t *cells, uint16_t *counts)
    int sp_embed_events(const sp_embed_config_t *config, const sp_event_t *events, size_t n, void *scratch,
                        size_t scratch_size, float *out)
    void sp_embed_position_sizes(uint16_t hidden, uint16_t *xy, uint16_t *t)
    void sp_embed_position_steps(uint16_t size, float scale, uint64_t *steps)
    void sp_embed_position_add(float *out, uint16_t size, const uint64_t *steps, uint64_t position)
