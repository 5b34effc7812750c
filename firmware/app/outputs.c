#include "outputs.h"

#include "spedge/model.h"

uint32_t app_outputs_numbers(void)
{
    uint32_t numbers = 0;
    for (uint32_t i = 0; i < sp_model.output_count; i++)
        numbers += sp_model.outputs[i].size;
    return numbers;
}

const float *app_outputs_at(const void *arena, uint32_t first, uint32_t *n)
{
    const sp_output_t *output = sp_model.outputs;
    for (; first >= output->size; output++)
        first -= output->size;
    *n = output->size - first;
    return sp_model_output(arena, output) + first;
}
