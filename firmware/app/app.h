/* The device application: one for all boards. A super-loop calls app_step; commands.c answers requests. */
#ifndef SP_APP_H_INCLUDED
#define SP_APP_H_INCLUDED

#include "link.h"
#include "protocol.h"
#include "queue.h"
#include "report.h"

#include "spedge/model.h"
#include "spedge/pipeline.h"

/* What of a RESULT is left for logits. */
#define APP_RESULT_FIXED_BYTES (STATUS_BYTES + 4u + 4u * 8u + 2u)
#define APP_MAX_CLASSES ((SP_APP_PAYLOAD_BYTES - APP_RESULT_FIXED_BYTES) / 4u)

/* What CONFIGURE made of the port's memory. pipe NULL: not configured. */
typedef struct app_setup {
    sp_pipeline_t *pipe;
    sp_pipeline_config_t config; /* defaults filled in */
    uint8_t *arena;              /* NULL: no model in this session */
    float *token;                /* [hidden], for a stateful model */
    size_t memory_used;
    uint32_t report_tokens;
} app_setup_t;

/* The last inference, kept so that a repeated INFER is answered and not computed again. */
typedef struct app_inference {
    int done;     /* 0: none in this session */
    uint16_t seq; /* of the request */
    uint32_t rows;
    uint64_t cost_window;
    uint64_t cost_encode;
    float logits[APP_MAX_CLASSES];
} app_inference_t;

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
    app_setup_t setup;
    app_inference_t inference;
    app_steps_t steps;
    uint32_t session;          /* 0: none yet */
    uint32_t previous_session; /* the one that the opening request named */
    uint8_t opened_by;         /* that request's type */
    uint16_t next_seq;         /* of EVENTS */
    uint64_t repeated_frames;  /* EVENTS that had been taken before */
    uint64_t refused_frames;   /* EVENTS after a gap, or beyond the credits */
} app_t;

void app_init(app_t *app);

/* One turn: write, answer at most one request, process a slice of the events. Returns 0 when there was nothing to do. */
int app_step(app_t *app);

/* Process queued event words, at most about `bytes`. Returns 0 when nothing was done: the queue is empty or unread
 * tokens are in the way. */
int app_process(app_t *app, size_t bytes);

/* Forget the stream: events, tokens, pipeline state. The setup stays. */
void app_reset_stream(app_t *app);

/* What app_configure found; detail as in SPEC.md. code 0: good. */
typedef struct app_result {
    uint16_t code;
    const char *text;
    uint32_t detail[2];
} app_result_t;

/* Carve pipeline, reports and arena out of the port's memory. config NULL: as the linked model says, with
 * pool_events as given. pool_events 0: the largest pool that fits. On an error nothing has changed. */
app_result_t app_configure(app_t *app, const sp_tokenizer_config_t *config, uint32_t pool_events,
                           uint32_t report_tokens);

/* Answer a request. Queues exactly one frame. */
void app_command(app_t *app, const sp_frame_t *request);

/* Whether a model is linked into this image. */
int app_has_model(void);

#endif
