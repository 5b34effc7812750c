/* A session's set-up: what CONFIGURE asks for, carved out of the port's memory. */
#ifndef SP_APP_CONFIGURE_H_INCLUDED
#define SP_APP_CONFIGURE_H_INCLUDED

#include "state.h"

/* Carve pipeline, reports, results and arena out of the port's memory. On an error nothing has changed. */
app_result_t app_configure(app_t *app, const app_settings_t *settings);

/* Bytes that sessions are carved from. */
uint32_t app_memory(void);

#endif
