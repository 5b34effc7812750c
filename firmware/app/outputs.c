#include "outputs.h"

#include "spedge/model.h"

uint32_t app_outputs_numbers(void)
{
    uint32_t numbers = 0;
    for (uint32_t i = 0; i < sp_model.output_count; i++)
        numbers += sp_model.outputs[i].size;
    return numbers;
}

/* Numbers of either half of a detector's state. */
static uint32_t half_of_state(void)
{
    const sp_detection_t *detection = sp_model.detection;
    return detection != NULL ? (uint32_t)detection->rows * detection->columns * detection->hidden : 0;
}

uint32_t app_outputs_state(void)
{
    return sp_model.graph != NULL ? sp_graph_plan_words(sp_model.graph) : 2u * half_of_state();
}

static const float *state_at(const void *arena, uint32_t first, uint32_t *n)
{
    if (sp_model.graph != NULL) {
        *n = sp_graph_plan_words(sp_model.graph) - first;
        return (const float *)(const void *)((const uint8_t *)arena + sp_model.graph->words_offset) + first;
    }
    const uint32_t half = half_of_state(), within = first % half;
    const uint32_t offset = first < half ? sp_model.detection->hidden_offset : sp_model.detection->cell_offset;
    *n = half - within;
    return (const float *)(const void *)((const uint8_t *)arena + offset) + within;
}

const float *app_outputs_at(const void *arena, uint32_t first, uint32_t *n)
{
    for (uint32_t i = 0; i < sp_model.output_count; i++) {
        const sp_output_t *output = &sp_model.outputs[i];
        if (first < output->size) {
            *n = output->size - first;
            return sp_model_output(arena, output) + first;
        }
        first -= output->size;
    }
    return state_at(arena, first, n);
}
