/* Inferences that were not asked for, kept until the host has read them, and the last one that was asked for. */
#ifndef SP_APP_RESULTS_H_INCLUDED
#define SP_APP_RESULTS_H_INCLUDED

#include "spedge/boxes.h"

#include <stddef.h>
#include <stdint.h>

/* Results kept. A port may define less, but not 0. */
#ifndef SP_APP_RESULTS
#define SP_APP_RESULTS 8u
#endif

/* Events lost, by where, as SPEC.md has it. */
typedef struct app_losses {
    uint64_t offered, sensor, link, thinned, decoder, pool, since, until, results_dropped;
} app_losses_t;

/* As SPEC.md has it. */
typedef struct app_inference {
    app_losses_t loss;
    uint64_t t;
    uint64_t latency;
    uint64_t cost_tokenize, cost_embed, cost_window, cost_encode;
    uint32_t run; /* of the session's runs of the model, from 1 on */
    uint32_t index;
    uint32_t rows;
    uint32_t newest;
    uint32_t boxes; /* of a detector's step: found; left out, because there were too many of them */
    uint32_t boxes_left_out;
    uint32_t tokens_left_out, steps_left_out; /* of the session so far */
    int16_t code;
    uint8_t cause;
    uint8_t ran;     /* 0: a detector had no step to make */
    float numbers[]; /* the outputs' first, or boxes: as many as a RESULT holds */
} app_inference_t;

/* A ring: results oldest .. total - 1 are kept, result i at i % capacity; behind it the one that was asked for. */
typedef struct app_results {
    uint8_t *entries;
    size_t entry_bytes;
    uint32_t numbers;  /* in an entry */
    uint32_t boxes;    /* in an entry, instead of numbers */
    uint32_t capacity; /* 0: none are kept */
    uint32_t oldest;
    uint32_t total;
    uint32_t pushed; /* results before this one have been sent unasked */
    uint64_t dropped;
} app_results_t;

/* Bytes for that many, and one more. */
size_t app_results_size(uint32_t capacity, uint32_t numbers, uint32_t boxes);
void app_results_init(app_results_t *results, uint32_t capacity, uint32_t numbers, uint32_t boxes, void *mem);
void app_results_reset(app_results_t *results);

/* Whether one more fits. */
int app_results_has_room(const app_results_t *results);

/* Whether one more fits beside those that were not sent yet. */
int app_results_has_sent_room(const app_results_t *results);

/* Where the next one is to be written; without room that is the place of the oldest, which is dropped. */
app_inference_t *app_results_next(app_results_t *results);

/* The boxes in an entry. */
static inline sp_box_t *app_results_boxes(app_inference_t *inference)
{
    return (sp_box_t *)(void *)inference->numbers;
}

app_inference_t *app_results_at(const app_results_t *results, uint32_t index);
app_inference_t *app_results_asked(const app_results_t *results);

/* Drop those before index. Returns 0, and changes nothing, when index > total. */
int app_results_release(app_results_t *results, uint32_t index);

#endif
