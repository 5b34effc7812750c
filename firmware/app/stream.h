/* The events on their way: from their source through the queue to the pipeline. */
#ifndef SP_APP_STREAM_H_INCLUDED
#define SP_APP_STREAM_H_INCLUDED

#include "state.h"

/* Process queued event words, at most about `bytes`. Returns 0 when nothing was done: the queue is empty or, in
 * lossless mode, unread tokens or results are in the way. */
int app_process(app_t *app, size_t bytes);

/* One turn: take from a source on the board, process a slice. Returns 0 when there was nothing to do. */
int app_stream_step(app_t *app);

/* Process until a frame of the largest size fits, if that can be. */
void app_make_room(app_t *app);

/* Bytes and events that have come, or lie in RAM, and are not processed. */
uint32_t app_queued(const app_t *app);

/* Forget the stream: events, tokens, pipeline state. The setup stays. */
void app_reset_stream(app_t *app);

#endif
