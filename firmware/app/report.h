/* Tokens that the host asked to see, kept until it has read them. */
#ifndef SP_APP_REPORT_H_INCLUDED
#define SP_APP_REPORT_H_INCLUDED

#include "spedge/tokenizer.h"

typedef struct app_report_entry {
    uint64_t t;
    uint32_t n;
    uint32_t crc; /* of the token's events, as SPEC.md lays them out */
    uint16_t x;
    uint16_t y;
} app_report_entry_t;

/* A ring: entries oldest .. total - 1 are kept, entry i at i % capacity. */
typedef struct app_report {
    app_report_entry_t *entries;
    uint32_t capacity; /* 0: tokens are not reported */
    uint32_t oldest;
    uint32_t total;
} app_report_t;

size_t app_report_size(uint32_t capacity);
void app_report_init(app_report_t *report, uint32_t capacity, void *mem);
void app_report_reset(app_report_t *report);

/* Whether one more token fits (always, when tokens are not reported). */
int app_report_has_room(const app_report_t *report);

/* Append the ready token; without room in place of the oldest. */
void app_report_add(app_report_t *report, const sp_tokenizer_t *tok, const sp_token_t *token);

/* Drop the entries before index. Returns 0, and changes nothing, unless oldest <= index <= total. */
int app_report_release(app_report_t *report, uint32_t index);

const app_report_entry_t *app_report_at(const app_report_t *report, uint32_t index);

#endif
