#include "report.h"

#include "spedge/frame.h"
#include "spedge/wire.h"

#define EVENT_BYTES 13u
#define EVENTS_AT_ONCE 16u

size_t app_report_size(uint32_t capacity)
{
    return capacity * sizeof(app_report_entry_t);
}

void app_report_init(app_report_t *report, uint32_t capacity, void *mem)
{
    report->entries = mem;
    report->capacity = capacity;
    app_report_reset(report);
}

void app_report_reset(app_report_t *report)
{
    report->oldest = report->total = 0;
}

int app_report_has_room(const app_report_t *report)
{
    return report->capacity == 0 || report->total - report->oldest < report->capacity;
}

/* CRC-32 over the token's events: t, x, y, p, little-endian, in arrival order. */
static uint32_t events_crc(const sp_tokenizer_t *tok)
{
    sp_event_t events[EVENTS_AT_ONCE];
    uint8_t bytes[EVENTS_AT_ONCE * EVENT_BYTES];
    sp_token_cursor_t cursor;
    uint32_t crc = 0;
    size_t n;
    sp_token_cursor_init(&cursor, tok);
    while ((n = sp_token_cursor_read(&cursor, events, EVENTS_AT_ONCE)) > 0) {
        uint8_t *p = bytes;
        for (size_t i = 0; i < n; i++) {
            p = sp_put_u64(p, events[i].t);
            p = sp_put_u16(p, events[i].x);
            p = sp_put_u16(p, events[i].y);
            p = sp_put_u8(p, events[i].p);
        }
        crc = sp_crc32(crc, bytes, n * EVENT_BYTES);
    }
    return crc;
}

void app_report_add(app_report_t *report, const sp_tokenizer_t *tok, const sp_token_t *token)
{
    if (report->capacity > 0) {
        if (!app_report_has_room(report))
            report->oldest++;
        app_report_entry_t *entry = &report->entries[report->total % report->capacity];
        entry->t = token->t;
        entry->n = token->n;
        entry->crc = events_crc(tok);
        entry->x = token->x;
        entry->y = token->y;
        report->total++;
    }
}

int app_report_release(app_report_t *report, uint32_t index)
{
    if (index < report->oldest || index > report->total)
        return 0;
    report->oldest = index;
    return 1;
}

const app_report_entry_t *app_report_at(const app_report_t *report, uint32_t index)
{
    return &report->entries[index % report->capacity];
}
