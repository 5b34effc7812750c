#include "detect.h"

#include "camera.h"
#include "port.h"

#include <string.h>

int app_detects(const app_t *app)
{
    return app->setup.arena != NULL && sp_model.detection != NULL;
}

void app_detect_reset(app_t *app)
{
    app_detect_t *detect = &app->detect;
    detect->count = 0;
    detect->steps_left_out = detect->tokens_left_out = 0;
    sp_model.reset(app->setup.arena);
}

int app_detect_has_step(const app_t *app)
{
    return sp_pipeline_step_events(app->setup.pipe) > 0;
}

/* The boxes of what the model gave; as many as a RESULT holds go along with it. */
static void find_boxes(app_t *app, app_inference_t *out)
{
    app_detect_t *detect = &app->detect;
    const sp_detection_t *of = sp_model.detection;
    const float *head = sp_model_output(app->setup.arena, &sp_model.outputs[0]);
    detect->count = sp_boxes_decode(&of->rule, of->levels, SP_DETECTION_LEVELS, head, detect->boxes, detect->capacity,
                                    &out->boxes_left_out);
    out->boxes = detect->count;
    uint32_t kept = detect->count < app->results.boxes ? detect->count : app->results.boxes;
    memcpy(app_results_boxes(out), detect->boxes, kept * sizeof *detect->boxes);
}

int app_detect_step(app_t *app, uint64_t time, app_inference_t *out)
{
    app_detect_t *detect = &app->detect;
    float *input = (float *)(void *)(app->setup.arena + sp_model.input_offset);
    uint16_t *cells = (uint16_t *)(void *)(app->setup.arena + sp_model.cells_offset);
    uint32_t left_out;
    uint64_t begin = port_counter();
    out->rows = sp_pipeline_step(app->setup.pipe, time, input, cells, &left_out);
    uint64_t ready = port_counter();
    detect->tokens_left_out += left_out;
    detect->count = 0;
    int code = sp_model.encode(app->setup.arena, out->rows);
    if (code >= 0)
        find_boxes(app, out);
    out->cost_encode = port_counter() - ready;
    out->cost_window = ready - begin;
    return code;
}

int app_detect_is_late(const app_t *app)
{
    const app_loss_t *loss = &app->loss;
    if (app->setup.settings.mode != MODE_LIVE)
        return 0;
    if (app_has_camera(&app->setup.settings))
        return app_camera_level() > APP_CAMERA_CROWDED;
    /* the chunk of the newest event that has come may be over, too */
    uint64_t whole = loss->clock_time >= loss->chunk_end ? loss->chunk_end : loss->whole;
    return whole > app->boundary;
}

void app_detect_leave_out(app_t *app)
{
    uint32_t left_out;
    sp_pipeline_step(app->setup.pipe, app->boundary - 1u, NULL, NULL, &left_out);
    app->detect.tokens_left_out += left_out;
    app->detect.steps_left_out++;
}
