#include "application.h"

#include <string.h>

/* The application knows it as a constant, which it is from its first turn on. */
sp_model_t application_served __asm__("sp_model");

static application_encode_t encode_rows;
static uint32_t held; /* stateful: tokens in the window */

static int encode(void *arena, uint32_t count)
{
    const sp_model_t *const model = &application_served;
    const size_t hidden = model->embed.hidden;
    float *const rows = arena;
    if (count > model->tokens)
        return SP_ERR_CAPACITY;
    memset(rows + count * hidden, 0, (model->tokens - count) * hidden * sizeof *rows);
    return encode_rows(rows, count, (float *)(void *)((uint8_t *)arena + model->outputs[0].offset));
}

static void reset(void *arena)
{
    (void)arena;
    held = 0;
}

static int step(void *arena, const float *token)
{
    const size_t hidden = application_served.embed.hidden;
    held = held < application_served.tokens ? held : 0; /* a full window: the next one begins */
    memcpy((float *)arena + held++ * hidden, token, hidden * sizeof *token);
    return SP_OK;
}

static int read_out(void *arena)
{
    return encode(arena, held);
}

void application_model(const sp_model_t *model, int stateful, application_encode_t run)
{
    application_served = *model;
    application_served.encode = encode;
    encode_rows = run;
    if (stateful) {
        application_served.reset = reset;
        application_served.step = step;
        application_served.read = read_out;
    }
}
