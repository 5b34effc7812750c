/* Tokens: a patch fires, and its events are read. */
#include "spedge/assert.h"
#include "tokenizer_state.h"

int sp_tokenizer_fire(sp_tokenizer_t *tok, uint32_t patch, uint64_t t)
{
    const uint32_t held = sp_pool_held(tok, patch);

    tok->ready =
        (sp_token_t){.t = t, .x = (uint16_t)(patch % tok->columns), .y = (uint16_t)(patch / tok->columns), .n = held};
    tok->is_ready = 1;
    tok->ready_tail = held > 0 ? BLOCK_BEFORE(*sp_pool_next(tok, patch)) : BLOCK_NONE;
    *sp_pool_next(tok, patch) = 0;
    tok->held[patch] = 0;
    if (sp_has_refractory(&tok->config)) {
        tok->last_spike[patch] = t;
        tok->held[patch] = HELD_SPIKED;
    }
    tok->stats.tokens++;
    tok->stats.in_tokens += held;
    return SP_TOKEN;
}

const sp_token_t *sp_tokenizer_token(const sp_tokenizer_t *tok)
{
    return tok->is_ready ? &tok->ready : NULL;
}

void sp_token_cursor_init(sp_token_cursor_t *cursor, const sp_tokenizer_t *tok)
{
    *cursor = sp_cursor_of(tok);
}

size_t sp_token_cursor_read(sp_token_cursor_t *cursor, sp_event_t *out, size_t capacity)
{
    const sp_tokenizer_t *tok = cursor->tokenizer;
    SP_ASSERT(out || capacity == 0);
    const uint32_t bits = tok->span_bits, mask = (1u << bits) - 1u;
    const uint32_t x0 = (uint32_t)tok->ready.x * tok->config.patch_size;
    const uint32_t y0 = (uint32_t)tok->ready.y * tok->config.patch_size;
    const uint32_t corner = sp_corner(tok->config.patch_size, tok->ready.x, tok->ready.y);
    const uint32_t *slots;
    uint64_t epoch;
    size_t got = 0;

    for (uint32_t n; got < capacity; got += n) {
        const size_t room = capacity - got;
        n = sp_token_cursor_run(cursor, room < BLOCK_SLOTS ? (uint32_t)room : BLOCK_SLOTS, &slots, &epoch);
        if (n == 0)
            break;
        const uint64_t time_high = epoch << tok->time_bits;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t slot = slots[i] ^ corner;
            out[got + i] = (sp_event_t){.t = time_high | sp_slot_time(bits, slot),
                                        .x = (uint16_t)(x0 + (evt2_x(slot) & mask)),
                                        .y = (uint16_t)(y0 + (evt2_y(slot) & mask)),
                                        .p = (uint8_t)(evt2_type(slot) & 1u)};
        }
    }
    return got;
}
