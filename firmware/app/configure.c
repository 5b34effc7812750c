#include "app.h"
#include "port.h"

#include <string.h>

#define ALIGNMENT 16u
#define BLOCK_EVENTS 16u

/* A larger pool than this only makes a reset slower. */
#ifndef SP_APP_POOL_EVENTS
#define SP_APP_POOL_EVENTS 262144u
#endif

static size_t align_up(size_t n) { return (n + ALIGNMENT - 1u) & ~(size_t)(ALIGNMENT - 1u); }

/* The pipeline's bytes with that many pool events, 0 if the configuration is bad. */
static size_t size_with(sp_pipeline_config_t *config, uint32_t pool_events)
{
    config->tokenizer.pool_events = pool_events;
    return sp_pipeline_size(config);
}

/* The largest pool, in whole blocks, with which the pipeline takes at most room bytes; at least one block. */
static void largest_pool(sp_pipeline_config_t *config, size_t room)
{
    uint32_t low = 1;
    uint32_t high = SP_APP_POOL_EVENTS / BLOCK_EVENTS;
    while (low < high) {
        uint32_t middle = low + (high - low + 1u) / 2u;
        if (size_with(config, middle * BLOCK_EVENTS) <= room) {
            low = middle;
        } else {
            high = middle - 1u;
        }
    }
    config->tokenizer.pool_events = low * BLOCK_EVENTS;
}

static uint64_t clock_now(void *context)
{
    (void)context;
    return port_counter();
}

static void on_token(void *context, const sp_tokenizer_t *tok, const sp_token_t *token)
{
    app_t *app = context;
    app_report_add(&app->report, tok, token);
    if (app->setup.token != NULL) {
        uint64_t begin = port_counter();
        app->steps.rows = sp_pipeline_newest(app->setup.pipe, app->setup.token);
        app->steps.code = sp_model.step(app->setup.arena, app->setup.token, NULL);
        app->steps.cost += port_counter() - begin;
    }
}

app_result_t app_configure(app_t *app, const sp_tokenizer_config_t *tokenizer, uint32_t pool_events,
                           uint32_t report_tokens)
{
    app_setup_t setup;
    memset(&setup, 0, sizeof setup);
    sp_pipeline_config_t *config = &setup.config;
    size_t arena_bytes = 0;
    size_t token_bytes = 0;
    if (tokenizer == NULL) {
        tokenizer = &sp_model.tokenizer;
        config->embed = sp_model.embed;
        config->window_tokens = sp_model.tokens;
        arena_bytes = sp_model.arena_bytes;
        if (sp_model.step != NULL) {
            config->one_by_one = 1;
            token_bytes = sp_model.embed.hidden * sizeof(float);
        }
    }
    config->tokenizer = *tokenizer;
    config->tokenizer.pool_events = pool_events > 0 ? pool_events : BLOCK_EVENTS;
    config->tokenizer.pool_policy = SP_POOL_EVICTS;
    if (sp_tokenizer_config_check(&config->tokenizer, &config->tokenizer) != SP_OK ||
        sp_pipeline_size(config) == 0) {
        return (app_result_t){ERROR_VALUE, "the tokenizer's configuration is out of range", {0, 0}};
    }

    size_t available;
    uint8_t *memory = port_memory(&available);
    uint64_t fixed = align_up(arena_bytes) + align_up(token_bytes) + (uint64_t)report_tokens * sizeof(app_report_entry_t) + ALIGNMENT;
    if (pool_events == 0) {
        largest_pool(config, fixed < available ? available - (size_t)fixed : 0);
    }
    uint64_t needed = fixed + sp_pipeline_size(config);
    if (needed > available) {
        uint32_t shown = needed > UINT32_MAX ? UINT32_MAX : (uint32_t)needed;
        return (app_result_t){ERROR_MEMORY, "the session needs more memory than the board has", {shown, (uint32_t)available}};
    }

    setup.arena = arena_bytes > 0 ? memory : NULL;
    setup.report_tokens = report_tokens;
    setup.memory_used = (size_t)needed;
    setup.token = token_bytes > 0 ? (float *)(void *)(memory + align_up(arena_bytes)) : NULL;
    uint8_t *entries = memory + align_up(arena_bytes) + align_up(token_bytes);
    uint8_t *rest = entries + align_up(app_report_size(report_tokens));
    if (sp_pipeline_init(&setup.pipe, config, rest, available - (size_t)(rest - memory)) != SP_OK) {
        app->setup.pipe = NULL; /* the old pipeline's memory may be overwritten; cannot happen after the checks above */
        return (app_result_t){ERROR_VALUE, "the pipeline refused its configuration", {0, 0}};
    }
    app_report_init(&app->report, report_tokens, entries);
    app->setup = setup;
    sp_pipeline_set_clock(setup.pipe, clock_now, NULL);
    sp_pipeline_set_observer(setup.pipe, on_token, app);
    app_reset_stream(app);
    return (app_result_t){0, NULL, {0, 0}};
}
