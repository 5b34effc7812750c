/* Payloads, as SPEC.md lays them out: what replies say, and what CONFIGURE asks for. */
#ifndef SP_APP_MESSAGES_H_INCLUDED
#define SP_APP_MESSAGES_H_INCLUDED

#include "state.h"

/* A reply being written: the payload grows from start to at. */
typedef struct app_reply {
    uint8_t *at;
    uint8_t type;
    uint8_t start[SP_APP_PAYLOAD_BYTES];
} app_reply_t;

/* An ERROR instead of the reply, for a request of that type. */
void app_fail(app_reply_t *reply, uint8_t request, app_result_t error);
void app_fail_with(app_reply_t *reply, uint8_t request, uint16_t code, const char *text, uint32_t a, uint32_t b);

/* CONFIGURE_BYTES of a payload; the flags and the tokenizer's settings are left to the caller. */
app_settings_t app_get_settings(const uint8_t *payload);

/* The bodies of replies, each behind what the reply has already. */
void app_put_hello(app_reply_t *reply);
void app_put_image(app_reply_t *reply);
void app_put_outputs(app_reply_t *reply, uint16_t first);
void app_put_configured(app_reply_t *reply, const app_t *app);
void app_put_status(app_reply_t *reply, const app_t *app);
void app_put_result(app_reply_t *reply, const app_t *app, app_inference_t *inference);
void app_put_raw(app_reply_t *reply, const app_t *app);
void app_put_stats(app_reply_t *reply, const app_t *app);

/* Numbers of that run from first on, as many as fit; none when they are not in the arena. */
void app_put_values(app_reply_t *reply, const app_t *app, uint32_t run, uint32_t first);

/* Boxes of that run from first on, as many as fit; none when they are not there any more. */
void app_put_boxes(app_reply_t *reply, const app_t *app, uint32_t run, uint32_t first);

/* Reported tokens from first on (oldest <= first <= total), at most that many and what fits. */
void app_put_tokens(app_reply_t *reply, const app_t *app, uint32_t first, uint32_t most);

#endif
