/* The interface between a compiled model (spedge compile) and the application. */
#ifndef SP_MODEL_H_INCLUDED
#define SP_MODEL_H_INCLUDED

#include "spedge/embed.h"
#include "spedge/tokenizer.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_model {
    uint8_t hash[32];                /* SHA-256 of the bundle, as in bundle.json */
    const char *name;                /* the bundle's, and "(int8)" or "(int8w)" behind it unless it computes in fp32 */
    sp_tokenizer_config_t tokenizer; /* pool_events 0: the application decides */
    sp_embed_config_t embed;         /* weights in flash */
    uint16_t tokens;                 /* T, the window's capacity */
    uint32_t classes;                /* numbers that encode writes */
    const char *const *labels;       /* [classes] */
    uint32_t arena_bytes;            /* 16-byte aligned working memory, the encoder's input included */
    uint32_t input_offset;           /* in the arena: float [tokens][hidden], written by the caller */
    /* Run the encoder on the first `count` rows (0 <= count <= tokens) of the input in the arena.
     * Writes float [classes]. Destroys the input. Returns SP_OK or an SP_ERR_*. Never blocks; not reentrant. */
    int (*encode)(void *arena, uint32_t count, float *logits);
    /* Stateful models, NULL for others: the arena keeps what a token leaves behind for those after it.
     * reset: begin a window; before the first step, and whenever the past is to be forgotten.
     * step: take in one embedded token, float [hidden], whose time counts from the window's first token, and write
     * float [classes] for the window so far; token NULL: only the logits, logits NULL: only the token. A window is
     * `tokens` long: the step after that begins a new one, as after reset. Returns SP_OK or an SP_ERR_*. Never
     * blocks; not reentrant. encode does the same for a whole window, and leaves the state after it. */
    void (*reset)(void *arena);
    int (*step)(void *arena, const float *token, float *logits);
} sp_model_t;

/* The model linked into this image. */
extern const sp_model_t sp_model;

#ifdef __cplusplus
}
#endif
#endif
