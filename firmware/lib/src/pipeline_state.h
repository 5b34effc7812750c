/* What a pipeline remembers. */
#ifndef SP_PIPELINE_STATE_H_INCLUDED
#define SP_PIPELINE_STATE_H_INCLUDED

#include "spedge/pipeline.h"
#include "tokenizer_state.h"

#define SP_INTAKE_EVENTS 32u

/* Between decoder and tokenizer, where the words do not go straight from one to the other. */
typedef struct sp_intake {
    sp_decoder_t decoder;
    sp_thin_t thin;
    uint32_t keep; /* in SP_THIN_ALL */
    uint64_t thinned;
    uint32_t first, count; /* events[first .. count - 1] wait */
    sp_event_t events[SP_INTAKE_EVENTS];
} sp_intake_t;

struct sp_pipeline {
    sp_pipeline_config_t config;
    sp_evt2_t decoder; /* without an intake */
    sp_tokenizer_t *tokenizer;
    uint64_t reached;
    uint16_t xy_size, t_size;
    uint32_t steps;
    uint32_t columns; /* of a detector's grid */
    size_t scratch_size;
    uint64_t tokens;                         /* embedded since reset; the newest is at (tokens - 1) % rows */
    uint32_t rows;                           /* of the ring: T, or 1 with one_by_one */
    uint64_t origin;                         /* with one_by_one: time of the window's first token */
    uint64_t stepped_tokens, stepped_events; /* as many there were when the last step was taken */
    uint64_t cost_tokenize, cost_embed;
    sp_clock_fn clock;
    void *clock_context;
    sp_token_fn on_token;
    void *token_context;

    /* in the caller's memory, behind this struct */
    sp_intake_t *intake; /* NULL: EVT2 words that go straight to the tokenizer */
    uint64_t *times;     /* [rows] */
    void *scratch;
    uint64_t *xy_turns;    /* [(xy_size + 1) / 2], sp_embed_position_steps */
    uint64_t *t_turns;     /* [(t_size + 1) / 2] */
    float *xy_positions;   /* [steps][xy_size]: of the first columns and rows, the others are computed when needed */
    float *ring;           /* [rows][hidden]: linear embedding and the positions of x and y */
    uint16_t *cells;       /* [rows], for a detector: number of the grid's cell */
    uint16_t (*places)[2]; /* [rows], with points: column and row of the patch */
};

#endif
