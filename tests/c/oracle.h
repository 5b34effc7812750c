/* The tokenizers written straight from their definitions, with unbounded memory: what the library must equal. */
#ifndef ORACLE_H_INCLUDED
#define ORACLE_H_INCLUDED

#include "spedge/tokenizer.h"

typedef struct token_list {
    sp_token_t *tokens;
    size_t count, room;
    sp_event_t *events; /* of all tokens, one after the other */
    size_t event_count, event_room;
} token_list_t;

token_list_t token_list(void);
void token_list_add(token_list_t *list, sp_token_t token);
void token_list_add_event(token_list_t *list, sp_event_t event);

/* Ends the test unless both are equal, field by field and event by event. */
void token_list_check_equal(const token_list_t *got, const token_list_t *expected);

/* Append the ready token of the library. */
void token_list_take(token_list_t *list, const sp_tokenizer_t *tok);

/* Tokens of a sorted stream inside the sensor, which ends there. */
token_list_t oracle(const sp_tokenizer_config_t *config, const sp_event_t *events, size_t n);

/* A tokenizer in memory of exactly the size asked for. */
sp_tokenizer_t *new_tokenizer(const sp_tokenizer_config_t *config);

/* Push a stream in pieces; growing the pool where the configuration says so. *tok may move. */
token_list_t push_in_pieces(sp_tokenizer_t **tok, const sp_event_t *events, size_t n, size_t piece);

/* Append what the end of the stream brings. */
void end_stream(token_list_t *list, sp_tokenizer_t *tok);

/* Ends the test unless the library gives the oracle's tokens, at least one, however the stream is cut. */
void check_against_oracle(sp_tokenizer_config_t config, const sp_event_t *events, size_t n);

/* Ends the test unless every event is accounted for. */
void check_accounts(const sp_tokenizer_t *tok, uint64_t taken);

/* A random stream inside the sensor: bursts, repeated times, and now and then a jump of up to `jump` us. */
sp_event_t *random_events(uint32_t seed, size_t n, uint16_t width, uint16_t height, uint32_t jump);

#endif
