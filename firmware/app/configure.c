#include "configure.h"

#include "camera.h"
#include "outputs.h"
#include "port.h"
#include "stream.h"

#include <string.h>

#define ALIGNMENT 16u
#define BLOCK_EVENTS 16u

/* Candidates for a box that a detector's step looks at, the best ones. */
#ifndef SP_APP_BOXES
#define SP_APP_BOXES 256u
#endif

/* A larger pool than this only makes a reset slower. */
#ifndef SP_APP_POOL_EVENTS
#define SP_APP_POOL_EVENTS 262144u
#endif

static size_t align_up(size_t n)
{
    return (n + ALIGNMENT - 1u) & ~(size_t)(ALIGNMENT - 1u);
}

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
        if (size_with(config, middle * BLOCK_EVENTS) <= room)
            low = middle;
        else
            high = middle - 1u;
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
        app->outputs.there = 0;
        app->steps.code = sp_model.step(app->setup.arena, app->setup.token);
        app->steps.cost += port_counter() - begin;
    }
}

/* What the settings ask for that this image or board has not. */
static app_result_t refuse(const app_settings_t *settings)
{
    int with_model = settings->tokenizer == NULL;
    int unasked = settings->push || settings->every_us > 0 || settings->every_tokens > 0;
    size_t n;
    if (with_model && !app_has_model())
        return (app_result_t){ERROR_NO_MODEL, "this firmware has no model", {0, 0}};
    if (unasked && !with_model)
        return (app_result_t){ERROR_NO_MODEL, "results need the model", {0, 0}};
    if (with_model && sp_model.detection != NULL) {
        if (settings->every_us > 0 || settings->every_tokens > 0 || settings->window_us > 0)
            return (app_result_t){ERROR_VALUE, "a detector's results and windows are those of its steps", {0, 0}};
        if (sp_model.tokenizer.kind == SP_KIND_VOXEL)
            return (app_result_t){ERROR_VALUE, "a detector on voxels is not for devices", {0, 0}};
    }
    if (settings->window_us > 0 && with_model && sp_model.step != NULL)
        return (app_result_t){ERROR_VALUE, "the windows of a stateful model cannot be limited by age", {0, 0}};
    if (settings->mode == MODE_LIVE && settings->source == SOURCE_LINK && settings->format != FORMAT_EVT2)
        return (app_result_t){ERROR_VALUE, "live events come over the link in EVT2 only", {0, 0}};
    if (settings->source == SOURCE_CAMERA && !app_camera_can(0))
        return (app_result_t){ERROR_VALUE, "this board has no camera port", {0, 0}};
    if (settings->source == SOURCE_CAMERA && !app_camera_can(settings->baud))
        return (app_result_t){ERROR_VALUE, "the camera port cannot run at that baud rate", {settings->baud, 0}};
    if (settings->source == SOURCE_FRAMES && !port_has_frames())
        return (app_result_t){ERROR_VALUE, "this board has no frame port", {0, 0}};
    if (settings->source == SOURCE_FRAMES && settings->format != FORMAT_EVT2)
        return (app_result_t){ERROR_VALUE, "the frame port gets EVT2 only", {0, 0}};
    if (settings->source == SOURCE_FRAMES && !port_frames_answers())
        return (app_result_t){ERROR_VALUE, "no sensor answers at the frame port", {0, 0}};
    if (settings->source == SOURCE_LINK && settings->raw)
        return (app_result_t){ERROR_VALUE, "only the bytes of a source on the board are kept", {0, 0}};
    int of_part = settings->bin > 1 || settings->left > 0 || settings->top > 0;
    if (of_part && settings->mode == MODE_LIVE && settings->source == SOURCE_LINK)
        return (app_result_t){ERROR_VALUE, "live events over the link come cropped and binned", {0, 0}};
    if (settings->source == SOURCE_RAM && port_ram_source(&n) == NULL)
        return (app_result_t){ERROR_VALUE, "this firmware has no events in RAM", {0, 0}};
    return (app_result_t){0, NULL, {0, 0}};
}

uint32_t app_memory(void)
{
    size_t fast, bulk;
    port_memory(PORT_MEMORY_FAST, &fast);
    port_memory(PORT_MEMORY_BULK, &bulk);
    return (uint32_t)(fast + bulk);
}

/* The parts of a session's memory, one behind the other, the arena in fast memory if it fits; the pipeline takes the rest. */
typedef struct plan {
    size_t arena, token, boxes, results, tap;
    uint32_t results_kept;
    uint32_t numbers;                  /* of a result, that can be read */
    uint32_t numbers_kept, boxes_kept; /* with each result */
    uint32_t candidates;
    uint8_t holds; /* the arena has the rest of one result only, and that is to be read */
} plan_t;

static void plan_detector(plan_t *plan, sp_pipeline_config_t *config)
{
    const uint32_t cells = sp_model.outputs[0].shape[0];
    config->cell = sp_model.detection->cell;
    plan->candidates = cells < SP_APP_BOXES ? cells : SP_APP_BOXES;
    plan->boxes = plan->candidates * sizeof(sp_box_t);
    plan->boxes_kept = plan->candidates < APP_RESULT_BOXES ? plan->candidates : APP_RESULT_BOXES;
}

static void plan_model(plan_t *plan, sp_pipeline_config_t *config, const app_settings_t *settings)
{
    const int unasked = settings->every_us > 0 || settings->every_tokens > 0 || sp_model.detection != NULL;
    config->embed = sp_model.embed;
    config->window_tokens = sp_model.tokens;
    config->points = sp_model.graph != NULL;
    plan->arena = sp_model.arena_bytes;
    plan->numbers = app_outputs_numbers() + app_outputs_state();
    plan->holds = settings->hold;
    if (sp_model.detection != NULL) {
        plan_detector(plan, config);
    } else {
        const uint32_t numbers = app_outputs_numbers();
        plan->numbers_kept = numbers < APP_RESULT_NUMBERS ? numbers : APP_RESULT_NUMBERS;
        plan->holds |= numbers > plan->numbers_kept;
    }
    if (unasked)
        plan->results_kept = plan->holds ? 1u : SP_APP_RESULTS;
    plan->results = app_results_size(plan->results_kept, plan->numbers_kept, plan->boxes_kept);
    if (sp_model.step != NULL) {
        config->one_by_one = 1;
        plan->token = sp_model.embed.hidden * sizeof(float);
    }
}

static uint64_t plan_size(const plan_t *plan, uint32_t report_tokens)
{
    return (uint64_t)align_up(plan->arena) + align_up(plan->token) + align_up(plan->boxes) + align_up(plan->results) +
           align_up(plan->tap) + (uint64_t)report_tokens * sizeof(app_report_entry_t) + ALIGNMENT;
}

static void configure_stream(sp_pipeline_config_t *config, const app_settings_t *settings)
{
    uint8_t format = settings->format;
    config->format = format >= FORMAT_EDVS ? (uint8_t)(SP_FORMAT_EDVS_E0 + format - FORMAT_EDVS) : format;
    config->left = settings->left;
    config->top = settings->top;
    config->bin = settings->bin;
    config->thins = settings->mode == MODE_LIVE && app_has_camera(settings);
}

app_result_t app_configure(app_t *app, const app_settings_t *settings)
{
    app_setup_t setup;
    plan_t plan;
    memset(&setup, 0, sizeof setup);
    memset(&plan, 0, sizeof plan);
    app_result_t refused = refuse(settings);
    if (refused.code != 0)
        return refused;
    sp_pipeline_config_t *config = &setup.config;
    if (settings->tokenizer == NULL)
        plan_model(&plan, config, settings);
    configure_stream(config, settings);
    plan.tap = settings->raw ? SP_APP_TAP_BYTES : 0;
    config->tokenizer = settings->tokenizer != NULL ? *settings->tokenizer : sp_model.tokenizer;
    config->tokenizer.pool_events = settings->pool_events > 0 ? settings->pool_events : BLOCK_EVENTS;
    config->tokenizer.pool_policy = SP_POOL_EVICTS;
    if (sp_tokenizer_config_check(&config->tokenizer, &config->tokenizer) != SP_OK || sp_pipeline_size(config) == 0)
        return (app_result_t){ERROR_VALUE, "the tokenizer's configuration is out of range", {0, 0}};

    size_t available, fast;
    uint8_t *memory = port_memory(PORT_MEMORY_BULK, &available);
    uint8_t *arena = port_memory(PORT_MEMORY_FAST, &fast);
    const size_t in_fast = plan.arena <= fast ? align_up(plan.arena) : 0;
    uint64_t fixed = plan_size(&plan, settings->report_tokens) - in_fast;
    if (settings->pool_events == 0)
        largest_pool(config, fixed < available ? available - (size_t)fixed : 0);
    uint64_t needed = fixed + sp_pipeline_size(config);
    if (needed > available) {
        uint32_t shown = needed + in_fast > UINT32_MAX ? UINT32_MAX : (uint32_t)(needed + in_fast);
        return (app_result_t){ERROR_MEMORY,
                              "the session needs more memory than the board has",
                              {shown, (uint32_t)(available + in_fast)}};
    }

    uint8_t *token = memory + (in_fast > 0 ? 0 : align_up(plan.arena));
    uint8_t *boxes = token + align_up(plan.token);
    uint8_t *results = boxes + align_up(plan.boxes);
    uint8_t *tap = results + align_up(plan.results);
    uint8_t *entries = tap + align_up(plan.tap);
    uint8_t *rest = entries + align_up(app_report_size(settings->report_tokens));
    setup.settings = *settings;
    setup.settings.tokenizer = NULL;
    setup.arena = plan.arena == 0 ? NULL : in_fast > 0 ? arena : memory;
    setup.memory_used = (size_t)needed + in_fast;
    setup.token = plan.token > 0 ? (float *)(void *)token : NULL;
    setup.holds = plan.holds;
    if (app_has_camera(&app->setup.settings))
        app_camera_stop();
    if (sp_pipeline_init(&setup.pipe, config, rest, available - (size_t)(rest - memory)) != SP_OK) {
        app->setup.pipe = NULL; /* the old pipeline's memory may be overwritten; cannot happen after the checks above */
        return (app_result_t){ERROR_VALUE, "the pipeline refused its configuration", {0, 0}};
    }
    app_report_init(&app->report, settings->report_tokens, entries);
    app_results_init(&app->results, plan.results_kept, plan.numbers_kept, plan.boxes_kept, results);
    app->detect = (app_detect_t){.boxes = (sp_box_t *)(void *)boxes, .capacity = plan.candidates};
    app->outputs.numbers = plan.numbers;
    app_tap_init(&app->tap, plan.tap, tap);
    app->setup = setup;
    sp_pipeline_set_clock(setup.pipe, clock_now, NULL);
    sp_pipeline_set_observer(setup.pipe, on_token, app);
    app_reset_stream(app);
    return (app_result_t){0, NULL, {0, 0}};
}
