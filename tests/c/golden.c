/* Tokenizes one recording for tests/python/test_golden.py, which compares with the reference.
 *
 *   golden KIND WIDTH HEIGHT PATCH_SIZE THRESHOLD ABSOLUTE RELATIVE SCALE DECAY DURATION EVENTS WORDS < columns
 *
 * Input, little-endian: t u64, x u16, y u16, p u8, EVENTS of each, then the same as WORDS EVT2 words. Output: the number
 * of tokens and of their events, u64 each; x u16, y u16, t u64, n u32 of all tokens; x u16, y u16, t u64, p u8 of all
 * events. That the events in pieces of 1, 7 and 1000, and the words in pieces of 1, 7 and 1000 bytes give the same is
 * checked here. Exits with 1 if not. For little-endian machines. */
#include "spedge/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

typedef struct tokens {
    sp_token_t *items;
    sp_event_t *events; /* of all, one token after the other */
    size_t count, room, event_count;
} tokens_t;

static void *bytes(size_t n)
{
    void *memory = malloc(n + 1u);
    REQUIRE(memory != NULL);
    return memory;
}

static void take(tokens_t *list, const sp_tokenizer_t *tok)
{
    sp_token_cursor_t cursor;
    if (list->count == list->room) {
        list->room = 2 * list->room + 1024;
        list->items = realloc(list->items, list->room * sizeof *list->items);
        REQUIRE(list->items != NULL);
    }
    list->items[list->count] = *sp_tokenizer_token(tok);
    sp_token_cursor_init(&cursor, tok);
    list->event_count += sp_token_cursor_read(&cursor, list->events + list->event_count, SIZE_MAX);
    list->count++;
}

static void push(sp_tokenizer_t *tok, tokens_t *list, const sp_event_t *events, size_t n, size_t piece)
{
    for (size_t at = 0, used; at < n; at += used) {
        const size_t end = at + piece - at % piece;
        const int rc = sp_tokenizer_push(tok, events + at, (end < n ? end : n) - at, &used);
        REQUIRE(rc == SP_OK || rc == SP_TOKEN);
        if (rc == SP_TOKEN)
            take(list, tok);
    }
}

static void push_words(sp_tokenizer_t *tok, tokens_t *list, const uint8_t *words, size_t n, size_t piece)
{
    sp_evt2_t decoder;
    sp_evt2_init(&decoder);
    for (size_t at = 0, used; at < n; at += used) {
        const size_t end = at + piece - at % piece;
        const int rc = sp_tokenizer_push_evt2(tok, &decoder, words + at, (end < n ? end : n) - at, &used);
        REQUIRE(rc == SP_OK || rc == SP_TOKEN);
        if (rc == SP_TOKEN)
            take(list, tok);
    }
}

/* Of the events, or of the words if there are none. */
static tokens_t tokens_of(const sp_tokenizer_config_t *config, const sp_event_t *events, const uint8_t *words, size_t n,
                          size_t piece)
{
    tokens_t list = {.events = bytes(config->pool_events * sizeof(sp_event_t))};
    const size_t size = sp_tokenizer_size(config);
    void *memory = bytes(size);
    sp_tokenizer_t *tok;
    sp_tokenizer_stats_t stats;

    REQUIRE(sp_tokenizer_init(&tok, config, memory, size) == SP_OK);
    if (events)
        push(tok, &list, events, n, piece);
    else
        push_words(tok, &list, words, n, piece);
    while (sp_tokenizer_end(tok) == SP_TOKEN)
        take(&list, tok);
    sp_tokenizer_stats(tok, &stats);
    REQUIRE(stats.pool_lost + stats.outside + stats.backwards == 0);
    REQUIRE(stats.taken == stats.in_tokens + stats.pending + stats.refractory + stats.decayed);
    REQUIRE(stats.tokens == list.count && stats.in_tokens == list.event_count);
    free(memory);
    return list;
}

static void compare(tokens_t list, const tokens_t *expected)
{
    REQUIRE(list.count == expected->count && list.event_count == expected->event_count);
    REQUIRE(memcmp(list.items, expected->items, list.count * sizeof *list.items) == 0);
    REQUIRE(memcmp(list.events, expected->events, list.event_count * sizeof *list.events) == 0);
    free(list.items);
    free(list.events);
}

static void read_column(void *out, size_t size, size_t n)
{
    REQUIRE(fread(out, size, n, stdin) == n);
}

static sp_event_t *read_events(size_t n)
{
    uint64_t *t = bytes(n * sizeof *t);
    uint16_t *x = bytes(n * sizeof *x), *y = bytes(n * sizeof *y);
    uint8_t *p = bytes(n);
    sp_event_t *events = bytes(n * sizeof *events);

    read_column(t, sizeof *t, n);
    read_column(x, sizeof *x, n);
    read_column(y, sizeof *y, n);
    read_column(p, 1, n);
    for (size_t i = 0; i < n; i++)
        events[i] = (sp_event_t){.t = t[i], .x = x[i], .y = y[i], .p = p[i]};
    free(t);
    free(x);
    free(y);
    free(p);
    return events;
}

#define WRITE(list, n, field) \
    for (size_t i = 0; i < (n); i++) \
    REQUIRE(fwrite(&(list)[i].field, sizeof(list)[i].field, 1, stdout) == 1)

static void write_tokens(const tokens_t *list)
{
    const uint64_t counts[] = {list->count, list->event_count};
    REQUIRE(fwrite(counts, sizeof counts, 1, stdout) == 1);
    WRITE(list->items, list->count, x);
    WRITE(list->items, list->count, y);
    WRITE(list->items, list->count, t);
    WRITE(list->items, list->count, n);
    WRITE(list->events, list->event_count, x);
    WRITE(list->events, list->event_count, y);
    WRITE(list->events, list->event_count, t);
    WRITE(list->events, list->event_count, p);
}

int main(int argc, char **argv)
{
    static const size_t pieces[] = {1, 7, 1000};
    REQUIRE(argc == 13);
    const size_t n = (size_t)strtoull(argv[11], NULL, 10), word_bytes = 4u * (size_t)strtoull(argv[12], NULL, 10);
    const sp_tokenizer_config_t config = {.kind = (uint8_t)atoi(argv[1]),
                                          .width = (uint16_t)atoi(argv[2]),
                                          .height = (uint16_t)atoi(argv[3]),
                                          .patch_size = (uint16_t)atoi(argv[4]),
                                          .threshold = strtod(argv[5], NULL),
                                          .absolute_refractory_us = strtoull(argv[6], NULL, 10),
                                          .relative_refractory_us = strtoull(argv[7], NULL, 10),
                                          .relative_scale = strtod(argv[8], NULL),
                                          .decay_per_us = strtod(argv[9], NULL),
                                          .duration_us = strtoull(argv[10], NULL, 10),
                                          .pool_events = 1u << 21};
    const sp_event_t *events = read_events(n);
    uint8_t *words = bytes(word_bytes);

    read_column(words, 1, word_bytes);
    const tokens_t tokens = tokens_of(&config, events, NULL, n, n + 1u);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        compare(tokens_of(&config, events, NULL, n, pieces[i]), &tokens);
        compare(tokens_of(&config, NULL, words, word_bytes, pieces[i]), &tokens);
    }
    write_tokens(&tokens);
    return 0;
}
