/* The device application: one for all boards. A super-loop calls app_step; commands.c answers requests. */
#ifndef SP_APP_H_INCLUDED
#define SP_APP_H_INCLUDED

#include "link.h"
#include "loss.h"
#include "protocol.h"
#include "queue.h"
#include "report.h"
#include "results.h"
#include "tap.h"

#include "spedge/model.h"
#include "spedge/pipeline.h"

#define APP_MAX_CLASSES ((SP_APP_PAYLOAD_BYTES - RESULT_FIXED_BYTES) / 4u)

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
    uint8_t raw; /* keep the source's bytes for the host */
} app_settings_t;

/* What CONFIGURE made of the port's memory. pipe NULL: not configured. */
typedef struct app_setup {
    sp_pipeline_t *pipe;
    sp_pipeline_config_t config; /* defaults filled in */
    app_settings_t settings;
    uint8_t *arena;              /* NULL: no model in this session */
    float *token;                /* [hidden], for a stateful model */
    size_t memory_used;
} app_setup_t;

/* The last INFER, so that a repeated one is answered and not computed again. */
typedef struct app_asked {
    int done;     /* 0: none in this session */
    uint16_t seq; /* of the request */
} app_asked_t;

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
    app_steps_t steps;
    uint64_t boundary;         /* stream time of the next result by every_us; 0: time has not begun, SP_NO_TIME: none */
    const uint8_t *ram;        /* source RAM: what is left of it */
    size_t ram_left;
    uint32_t session;          /* 0: none yet */
    uint32_t previous_session; /* the one that the opening request named */
    uint8_t opened_by;         /* that request's type */
    uint32_t found_session;    /* that the host which has the link found when it came: it is another's */
    uint16_t next_seq;         /* of EVENTS */
    uint64_t repeated_frames;  /* EVENTS that had been taken before */
    uint64_t refused_frames;   /* EVENTS after a gap, or beyond the credits */
} app_t;

void app_init(app_t *app);

/* One turn: write, answer at most one request, process a slice of the events. Returns 0 when there was nothing to do. */
int app_step(app_t *app);

/* Process queued event words, at most about `bytes`. Returns 0 when nothing was done: the queue is empty or, in
 * lossless mode, unread tokens or results are in the way. */
int app_process(app_t *app, size_t bytes);

/* Process until a frame of the largest size fits, if that can be. */
void app_make_room(app_t *app);

/* Bytes and events that have come, or lie in RAM, and are not processed. */
uint32_t app_queued(const app_t *app);

/* Whether the host says how many events there are (SPEC.md, section 4.2). */
int app_is_live_link(const app_t *app);

/* Forget the stream: events, tokens, pipeline state. The setup stays. */
void app_reset_stream(app_t *app);

/* What app_configure found; detail as in SPEC.md. code 0: good. */
typedef struct app_result {
    uint16_t code;
    const char *text;
    uint32_t detail[2];
} app_result_t;

/* Carve pipeline, reports, results and arena out of the port's memory. On an error nothing has changed. */
app_result_t app_configure(app_t *app, const app_settings_t *settings);

/* Run the model for a request of that number. Returns its code; the inference is app_results_asked. */
int app_infer_asked(app_t *app, uint16_t seq);

/* A token has fired; the stream's time has come to the boundary: infer if that is called for. */
void app_after_token(app_t *app);
void app_at_time(app_t *app);

/* Answer a request. Queues exactly one frame. */
void app_command(app_t *app, const sp_frame_t *request);

/* Queue a result that was not asked for, if one waits to be sent. Returns 0 if not. */
int app_push_result(app_t *app);

/* app_admits of port.h. A host that yields is let in beside another one only when the session is its own: then the other
 * is a connection of its own that broke. */
int app_meet(app_t *app, const uint8_t *first, size_t n, int occupied);

/* Whether a model is linked into this image. */
int app_has_model(void);

#endif
