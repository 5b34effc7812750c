/* All that the application knows between two turns, and what is asked of it everywhere. */
#ifndef SP_APP_STATE_H_INCLUDED
#define SP_APP_STATE_H_INCLUDED

#include "link.h"
#include "protocol.h"
#include "queue.h"
#include "report.h"
#include "results.h"
#include "tap.h"

#include "spedge/model.h"
#include "spedge/pipeline.h"

/* Numbers and boxes that a RESULT holds at most; the host reads those behind them with VALUES and BOXES. */
#define APP_RESULT_NUMBERS ((SP_APP_PAYLOAD_BYTES - RESULT_FIXED_BYTES) / 4u)
#define APP_RESULT_BOXES ((SP_APP_PAYLOAD_BYTES - RESULT_FIXED_BYTES - STEP_BYTES) / BOX_BYTES)

/* What CONFIGURE asks for; numbers as in protocol.h. */
typedef struct app_settings {
    const sp_tokenizer_config_t *tokenizer; /* NULL: as the linked model says. Only for app_configure */
    uint32_t pool_events;                   /* 0: the largest pool that fits */
    uint32_t report_tokens;
    uint32_t baud;
    uint32_t window_us;
    uint32_t every_us;
    uint32_t every_tokens;
    uint8_t format;
    uint8_t mode;
    uint8_t source;
    uint8_t push;
    uint8_t raw;        /* keep the source's bytes for the host */
    uint16_t left, top; /* where the session's sensor begins in the source's */
    uint8_t bin;        /* pixels of the source along a side of one of the session's; 0: 1 */
    uint8_t hold;       /* lossless: compute nothing while a result is unread */
} app_settings_t;

/* What CONFIGURE made of the port's memory. pipe NULL: not configured. */
typedef struct app_setup {
    sp_pipeline_t *pipe;
    sp_pipeline_config_t config; /* defaults filled in */
    app_settings_t settings;
    uint8_t *arena; /* NULL: no model in this session */
    float *token;   /* [hidden], for a stateful model */
    uint8_t holds;  /* in lossless mode nothing is computed while a result is unread */
    size_t memory_used;
} app_setup_t;

/* Events lost before the pipeline, and when any were; loss.h. */
typedef struct app_loss {
    uint64_t expected; /* live over the link: events that the source offered before the next frame */
    uint64_t link;
    uint64_t sensor_before, events_before; /* bytes and events that the camera's receiver had lost when it began */
    uint64_t since, until;                 /* stream time of the first and last loss since the last result */
    uint64_t seen;                         /* losses of the pipeline and the sensor, as last looked at */
    uint64_t seen_at;                      /* stream time then */
    sp_evt2_t clock;                       /* live over the link: follows the frames as they come */
    uint64_t clock_time;
    /* Of a detector's chunks: the end of that of the newest event that came; SP_NO_TIME: no detector. */
    uint64_t chunk_end;
    uint64_t whole; /* the end of the one before that held events; 0: none */
    uint8_t any;    /* since and until are of a loss */
} app_loss_t;

/* The last INFER, so that a repeated one is answered and not computed again. */
typedef struct app_asked {
    int done;     /* 0: none in this session */
    uint16_t seq; /* of the request */
} app_asked_t;

/* What the model gives. The arena is the only place where all of it lies. */
typedef struct app_outputs {
    uint32_t numbers; /* that can be read: of all outputs, one behind the other, and of a detector's state */
    uint32_t runs;    /* of the model in this session */
    uint32_t there;   /* the run whose numbers lie in the arena; 0: none */
} app_outputs_t;

/* A detector's last step, and what was left out in the session. */
typedef struct app_detect {
    sp_box_t *boxes;   /* [capacity] */
    uint32_t capacity; /* candidates of a step */
    uint32_t count;    /* boxes of the last step */
    uint32_t steps_left_out, tokens_left_out;
} app_detect_t;

/* A stateful model's share of the work: done token by token, reported with an inference. */
typedef struct app_steps {
    uint64_t cost; /* of all steps since the stream began */
    uint32_t rows; /* tokens in the window */
    int code;      /* of the last step */
} app_steps_t;

typedef struct app {
    app_link_t link;
    app_queue_t queue;
    app_report_t report;
    app_results_t results;
    app_tap_t tap;
    app_setup_t setup;
    app_loss_t loss;
    app_asked_t asked;
    app_outputs_t outputs;
    app_steps_t steps;
    app_detect_t detect;
    /* Stream time of the next result by every_us, or end of a detector's chunk under way; 0: time has not begun,
     * SP_NO_TIME: none. */
    uint64_t boundary;
    const uint8_t *ram; /* source RAM: what is left of it */
    size_t ram_left;
    uint32_t session;          /* 0: none yet */
    uint32_t previous_session; /* the one that the opening request named */
    uint8_t opened_by;         /* that request's type */
    uint32_t found_session;    /* that the host which has the link found when it came: it is another's */
    uint16_t next_seq;         /* of EVENTS */
    uint8_t reboots;           /* to reboot_to, when the link is free */
    uint8_t reboot_to;
    uint64_t repeated_frames; /* EVENTS that had been taken before */
    uint64_t refused_frames;  /* EVENTS after a gap, or beyond the credits */
} app_t;

/* Why a request is refused; detail as in SPEC.md. code 0: it is not. */
typedef struct app_result {
    uint16_t code;
    const char *text;
    uint32_t detail[2];
} app_result_t;

/* Whether a model is linked into this image. */
static inline int app_has_model(void)
{
    return sp_model.encode != NULL;
}

/* Stream time from one result to the next; 0: they do not come by time. */
static inline uint32_t app_interval(const app_t *app)
{
    return app->setup.arena != NULL && sp_model.detection != NULL ? sp_model.detection->step_us
                                                                  : app->setup.settings.every_us;
}

/* Whether what the model gave is still to be read, and lossless mode keeps it for the host. */
static inline int app_is_being_read(const app_t *app)
{
    return app->setup.settings.mode == MODE_LOSSLESS && app->results.total > app->results.oldest &&
           (app->setup.holds || app->detect.count > app->results.boxes);
}

/* Whether the events come from a camera at the board. */
static inline int app_has_camera(const app_settings_t *settings)
{
    return settings->source == SOURCE_CAMERA || settings->source == SOURCE_FRAMES;
}

/* Whether the host says how many events there are (SPEC.md, section 4.2). */
static inline int app_is_live_link(const app_t *app)
{
    return app->setup.settings.mode == MODE_LIVE && app->setup.settings.source == SOURCE_LINK;
}

#endif
