/* A detector's steps: one at the end of every chunk of stream time that held events, on what those before have left. */
#ifndef SP_APP_DETECT_H_INCLUDED
#define SP_APP_DETECT_H_INCLUDED

#include "state.h"

/* Whether the session's results are steps of a detector. */
int app_detects(const app_t *app);

/* Forget all steps. */
void app_detect_reset(app_t *app);

/* Whether the chunk under way has held events since its last step. */
int app_detect_has_step(const app_t *app);

/* Run one step, at `time`; fills in what belongs to it, boxes included. Returns the model's code. */
int app_detect_step(app_t *app, uint64_t time, app_inference_t *out);

/* In live mode: whether a later chunk that held events has come whole, or the camera's receiver is filling up. */
int app_detect_is_late(const app_t *app);

/* Leave out the step of the chunk that is over: its tokens are forgotten, what steps have left stays. */
void app_detect_leave_out(app_t *app);

#endif
