/* The interface between a compiled model (spedge compile) and the application. */
#ifndef SP_MODEL_H_INCLUDED
#define SP_MODEL_H_INCLUDED

#include "spedge/boxes.h"
#include "spedge/embed.h"
#include "spedge/graph.h"
#include "spedge/tokenizer.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a model is for. What its outputs mean goes by this. */
enum { SP_TASK_NONE = 0, SP_TASK_CLASSIFICATION = 1, SP_TASK_DETECTION = 2 };

/* A tensor that every run gives: float [size], the product of the shape, row after row. */
typedef struct sp_output {
    const char *name;
    const uint32_t *shape; /* [rank] */
    uint32_t rank;
    uint32_t size;   /* numbers */
    uint32_t offset; /* in the arena, bytes: where they lie after a run */
} sp_output_t;

/* Of a detector. outputs[0] is `head`: for every cell of every level, finest level first and each row by row, the numbers
 * dx, dy, log w, log h in cells of its level, the objectness logit and a logit for each class. */
enum { SP_DETECTION_LEVELS = 3 };

typedef struct sp_detection {
    uint16_t rows, columns; /* of the grid */
    uint16_t cell;          /* side of the grid's cells, in patches */
    uint32_t step_us;       /* stream time of a step */
    sp_boxes_level_t levels[SP_DETECTION_LEVELS];
    sp_boxes_rule_t rule;                /* which boxes to keep; width, height and classes of the model */
    uint16_t hidden;                     /* numbers of a cell's state, of each of its halves; 0: it cannot be read */
    uint32_t hidden_offset, cell_offset; /* of the halves, in the arena: float [rows][columns][hidden], after a step */
} sp_detection_t;

typedef struct sp_model {
    uint8_t hash[32];                /* SHA-256 of the bundle, as in bundle.json */
    const char *name;                /* the bundle's, and "(int8)" or "(int8w)" behind it unless it computes in fp32 */
    sp_tokenizer_config_t tokenizer; /* pool_events 0: the application decides */
    sp_embed_config_t embed;         /* weights in flash */
    uint16_t tokens;                 /* T, the window's capacity */
    uint8_t task;                    /* SP_TASK_* */
    uint8_t output_count;
    const sp_output_t *outputs; /* [output_count], in the bundle's order */
    uint32_t arena_bytes;       /* 16-byte aligned working memory, input and outputs included */
    uint32_t input_offset;      /* in the arena: float [tokens][hidden], written by the caller */
    uint32_t cells_offset;      /* detectors: in the arena: uint16_t [tokens], the number of the grid's cell (its row *
                                   columns + its column) that each row of the input lies in; written by the caller */
    const sp_detection_t *detection; /* NULL for all but detectors */
    /* Models on graphs, NULL for others: the tables that encode goes by, which sp_graph_build makes in the arena of the
     * points of the rows, before encode; that destroys neither these tables nor the points. */
    const sp_graph_plan_t *graph;
    /* Run the encoder on the first `count` rows (0 <= count <= tokens) of the input in the arena. The outputs lie in
     * the arena then, until the input is written or the model runs again. Destroys the input. Returns SP_OK or an
     * SP_ERR_*. Never blocks; not reentrant. */
    int (*encode)(void *arena, uint32_t count);
    /* Detectors have reset alone: it forgets all steps, encode runs one step on those before it, and the arena keeps
     * what it leaves behind (but neither the input nor its cells).
     * Stateful models, NULL for others: the arena keeps what a token leaves behind for those after it.
     * reset: begin a window; before the first step, and whenever the past is to be forgotten.
     * step: take in one embedded token, float [hidden], whose time counts from the window's first token. A window is
     * `tokens` long: the step after that begins a new one, as after reset.
     * read: make the outputs of the window so far; they lie in the arena until the next step.
     * Return SP_OK or an SP_ERR_*. Never block; not reentrant. encode does the same for a whole window, and leaves the
     * state after it. */
    void (*reset)(void *arena);
    int (*step)(void *arena, const float *token);
    int (*read)(void *arena);
    /* Models for Linux, NULL for others: compute on so many threads from now on, the caller's among them (1 without), by the
     * vector instructions of that name, NULL for the best that the machine has (kernel_rows.h names them). What is computed
     * does not depend on the number of threads. Returns SP_OK, or SP_ERR_CONFIG where the machine does not have that. */
    int (*use)(uint32_t threads, const char *vectors);
} sp_model_t;

/* The numbers of an output after a run, float [size]. */
static inline const float *sp_model_output(const void *arena, const sp_output_t *output)
{
    return (const float *)(const void *)((const uint8_t *)arena + output->offset);
}

/* The model linked into this image. */
extern const sp_model_t sp_model;

#ifdef __cplusplus
}
#endif
#endif
