/* Inferences: asked for, or made as the stream goes on. */
#ifndef SP_APP_INFER_H_INCLUDED
#define SP_APP_INFER_H_INCLUDED

#include "state.h"

/* Run the model for a request of that number. Returns its code; the inference is app_results_asked. */
int app_infer_asked(app_t *app, uint16_t seq);

/* A token has fired; the stream's time has come to the boundary: infer if that is called for. */
void app_after_token(app_t *app);
void app_at_time(app_t *app);

#endif
