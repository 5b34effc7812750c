#include "harness.h"
#include "spedge/thin.h"

#include <stdlib.h>
#include <string.h>

#define WIDTH 40u
#define HEIGHT 30u
#define PATCH 4u
#define PATCHES (10u * 8u)
#define EVENTS 40000u

static sp_thin_t new_thin(void)
{
    sp_thin_t thin;
    const size_t size = sp_thin_size(WIDTH, HEIGHT, PATCH);
    CHECK_EQ(size, PATCHES * sizeof(int16_t));
    sp_thin_init(&thin, WIDTH, HEIGHT, PATCH, harness_alloc(size));
    return thin;
}

/* Column after column over and over, polarities in turn: a pattern that a regular choice would meet. */
static sp_event_t *scan(size_t n)
{
    sp_event_t *events = harness_alloc(n * sizeof *events);
    for (size_t i = 0; i < n; i++)
        events[i] =
            (sp_event_t){.t = 10 * i, .x = (uint16_t)(i % WIDTH), .y = (uint16_t)(i / WIDTH % HEIGHT), .p = i & 1};
    return events;
}

static size_t patch_of(const sp_event_t *e)
{
    return e->y / PATCH * 10u + e->x / PATCH;
}

TEST(thin_leaves_every_patch_its_share_of_a_scan)
{
    static const uint32_t keeps[] = {2, 26, 51, 64, 128, 200, 255};
    for (size_t k = 0; k < sizeof keeps / sizeof *keeps; k++) {
        sp_thin_t thin = new_thin();
        sp_event_t *events = scan(EVENTS);
        int64_t owed[PATCHES] = {0};
        for (size_t i = 0; i < EVENTS; i++)
            owed[patch_of(&events[i])] += keeps[k];
        size_t kept = 0, on = 0;
        for (size_t at = 0; at < EVENTS; at += 100) { /* a piece at a time */
            sp_event_t piece[100];
            memcpy(piece, events + at, sizeof piece);
            const size_t n = sp_thin_events(&thin, piece, 100, keeps[k]);
            for (size_t i = 0; i < n; i++) {
                owed[patch_of(&piece[i])] -= SP_THIN_ALL;
                on += piece[i].p;
                CHECK(i == 0 || piece[i].t > piece[i - 1].t);
            }
            kept += n;
        }
        for (size_t p = 0; p < PATCHES; p++)
            CHECK(llabs(owed[p]) < (long long)SP_THIN_ALL); /* to less than one event */
        CHECK(kept > EVENTS / 256 * keeps[k] * 9 / 10);
        CHECK(on * 10 > kept * 4 && on * 10 < kept * 6);
    }
}

TEST(thin_is_even_over_time)
{
    sp_thin_t thin = new_thin();
    sp_event_t *events = scan(EVENTS);
    const size_t n = sp_thin_events(&thin, events, EVENTS, 51); /* a fifth */
    size_t parts[40] = {0};
    uint64_t last = 0, gap = 0;
    for (size_t i = 0; i < n; i++) {
        parts[events[i].t / (10 * EVENTS / 40)]++;
        gap = events[i].t - last > gap ? events[i].t - last : gap;
        last = events[i].t;
    }
    for (size_t i = 0; i < 40; i++)
        CHECK(parts[i] > 140 && parts[i] < 260); /* of 1000, 199 */
    CHECK(gap < 10 * 5 * 14);
}

TEST(thin_all_changes_nothing_and_reset_begins_anew)
{
    sp_thin_t thin = new_thin();
    sp_event_t *events = scan(1000), *again = scan(1000), *all = scan(1000);
    CHECK_EQ(sp_thin_events(&thin, all, 1000, SP_THIN_ALL), 1000);
    CHECK_EQ(sp_thin_events(&thin, all, 1000, 100000), 1000);
    CHECK(memcmp(all, events, 1000 * sizeof *all) == 0);
    const size_t n = sp_thin_events(&thin, events, 1000, 90);
    sp_thin_reset(&thin);
    CHECK_EQ(sp_thin_events(&thin, again, 1000, 90), n);
    CHECK(memcmp(events, again, n * sizeof *events) == 0);
    CHECK_EQ(sp_thin_events(&thin, events, 0, 90), 0);
}

TEST(thin_takes_events_outside_the_sensor)
{
    sp_thin_t thin = new_thin();
    sp_event_t events[64];
    for (size_t i = 0; i < 64; i++)
        events[i] = (sp_event_t){.x = (uint16_t)(i * 1040), .y = (uint16_t)(65535 - i)};
    const size_t n = sp_thin_events(&thin, events, 64, 128);
    CHECK(n > 24 && n < 40);
    CHECK_EQ(sp_thin_size(0, 1, 1), 0);
    CHECK_EQ(sp_thin_size(1, 0, 1), 0);
    CHECK_EQ(sp_thin_size(1, 1, 0), 0);
}
