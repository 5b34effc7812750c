/* Which events were lost, where and when. The pipeline counts its own; here is the rest, and the time of all. */
#ifndef SP_APP_LOSS_H_INCLUDED
#define SP_APP_LOSS_H_INCLUDED

#include "spedge/decode.h"

/* As SPEC.md has it. */
typedef struct app_losses {
    uint64_t offered, sensor, link, thinned, decoder, pool, since, until, results_dropped;
} app_losses_t;

typedef struct app_loss {
    uint64_t expected; /* live over the link: events that the source offered before the next frame */
    uint64_t link;
    uint64_t sensor_before; /* bytes that the camera's receiver had lost when the session began */
    uint64_t since, until;  /* stream time of the first and last loss since the last result */
    uint64_t seen;          /* losses of the pipeline and the sensor, as last looked at */
    uint64_t seen_at;       /* stream time then */
    sp_evt2_t clock;        /* live over the link: follows the frames as they come */
    uint64_t clock_time;
    uint8_t any; /* since and until are of a loss */
} app_loss_t;

struct app;

void app_loss_reset(struct app *app);

/* Notice what the pipeline and the camera's receiver have lost meanwhile. */
void app_loss_watch(struct app *app);

/* The counts now. */
void app_loss_read(const struct app *app, app_losses_t *losses);

/* A result has told of the losses so far. */
void app_loss_told(struct app *app);

/* Take the payload of an EVENTS frame of live mode. Returns 0 if the frame was good (taken, late or without room), else
 * why not. */
const char *app_live_take(struct app *app, uint16_t seq, const uint8_t *payload, size_t length);

/* The source has offered that many events in all. */
void app_live_offered(struct app *app, uint64_t total);

#endif
