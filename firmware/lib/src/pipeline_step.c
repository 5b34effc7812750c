/* A detector's steps: the tokens since the last one, their ages and their cells. */
#include "pipeline_state.h"
#include "spedge/assert.h"

#include <string.h>

static uint64_t events_so_far(const sp_pipeline_t *pipe)
{
    const sp_tokenizer_stats_t *t = &pipe->tokenizer->stats;
    return t->taken - t->outside - t->backwards;
}

uint64_t sp_pipeline_step_events(const sp_pipeline_t *pipe)
{
    return events_so_far(pipe) - pipe->stepped_events;
}

static void copy_rows(const sp_pipeline_t *pipe, uint64_t time, uint32_t rows, float *out, uint16_t *cells)
{
    const uint32_t window = pipe->config.window_tokens, hidden = pipe->config.embed.hidden;
    const uint64_t first = pipe->tokens - rows;

    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t at = (uint32_t)((first + i) % window);
        float *row = &out[(size_t)i * hidden];
        memcpy(row, &pipe->ring[(size_t)at * hidden], hidden * sizeof *row);
        SP_ASSERT(pipe->times[at] <= time);
        sp_embed_position_add(row + 2u * pipe->xy_size, pipe->t_size, pipe->t_turns, time - pipe->times[at]);
        cells[i] = pipe->cells[at];
    }
    memset(&out[(size_t)rows * hidden], 0, (size_t)(window - rows) * hidden * sizeof *out);
    memset(&cells[rows], 0, (window - rows) * sizeof *cells);
}

uint32_t sp_pipeline_step(sp_pipeline_t *pipe, uint64_t time, float *out, uint16_t *cells, uint32_t *left_out)
{
    const uint64_t fresh = pipe->tokens - pipe->stepped_tokens;
    const uint32_t window = pipe->config.window_tokens;
    const uint32_t rows = out == NULL ? 0 : fresh < window ? (uint32_t)fresh : window;

    SP_ASSERT(pipe->cells && (cells || !out));
    if (out)
        copy_rows(pipe, time, rows, out, cells);
    *left_out = (uint32_t)(fresh - rows);
    pipe->stepped_tokens = pipe->tokens;
    pipe->stepped_events = events_so_far(pipe);
    return rows;
}
