/* Which events were lost, where and when. The pipeline counts its own; here is the rest, and the time of all. */
#ifndef SP_APP_LOSS_H_INCLUDED
#define SP_APP_LOSS_H_INCLUDED

#include "state.h"

void app_loss_reset(app_t *app);

/* Notice what the pipeline and the camera's receiver have lost meanwhile. */
void app_loss_watch(app_t *app);

/* The counts now. */
void app_loss_read(const app_t *app, app_losses_t *losses);

/* A result has told of the losses so far. */
void app_loss_told(app_t *app);

/* Take the payload of an EVENTS frame of live mode. Returns 0 if the frame was good (taken, late or without room), else
 * why not. */
const char *app_live_take(app_t *app, uint16_t seq, const uint8_t *payload, size_t length);

/* The source has offered that many events in all. */
void app_live_offered(app_t *app, uint64_t total);

#endif
