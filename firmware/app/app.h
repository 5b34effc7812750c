/* The device application: one for all boards. A super-loop calls app_step. */
#ifndef SP_APP_H_INCLUDED
#define SP_APP_H_INCLUDED

#include "state.h"

void app_init(app_t *app);

/* One turn: write, answer at most one request, process a slice of the events. Returns 0 when there was nothing to do. */
int app_step(app_t *app);

#endif
