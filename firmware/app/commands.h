/* Requests of the host, one at a time. */
#ifndef SP_APP_COMMANDS_H_INCLUDED
#define SP_APP_COMMANDS_H_INCLUDED

#include "state.h"

/* Answer a request. Queues exactly one frame. */
void app_command(app_t *app, const sp_frame_t *request);

/* Queue a result that was not asked for, if one waits to be sent. Returns 0 if not. */
int app_push_result(app_t *app);

#endif
