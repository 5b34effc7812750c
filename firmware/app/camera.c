#include "camera.h"

#include "port.h"
#include "protocol.h"

#include <string.h>

#define PENDING_BYTES 64u
#define OUT_BYTES 16u
/* Longest wait for the greeting of an eDVS that was reset, in the unit of port_counter, nanoseconds at the least:
 * half a second on a machine of 1 GHz, three on one of 168 MHz. One that says nothing is spoken to all the same. */
#define GREETING_COUNTS 500000000u
/* Events that must agree on where an event begins before a stream that was out of step is believed again. */
#define HUNT_EVENTS 8u

enum { CLOSED, GREETING, SETTING_UP, TEXT, STREAMING, FRAMES };

/* One camera port, one state. Bytes go port -> pending -> caller, whole words only, so that the decoder behind never
 * has to find the start of a word. */
static struct {
    uint8_t state;
    uint8_t format;
    uint8_t word;    /* bytes of a word or event; 1: the decoder finds them, they differ in length */
    uint8_t to_skip; /* bytes until the next word begins, after some were lost */
    uint8_t hunting; /* the start of an event is not known any more */
    uint8_t greeting_matched;
    uint8_t filled;
    uint8_t out_used, out_filled;
    uint8_t pending[PENDING_BYTES];
    uint8_t out[OUT_BYTES];
    uint64_t reset_at;
    uint32_t port_lost;             /* of port_camera_lost, so far */
    uint32_t skipped;               /* bytes that came and were given up, to find the next word */
    port_frames_lost_t frames_lost; /* of port_frames_lost, so far */
} camera;

int app_camera_can(uint32_t baud)
{
    return port_camera_can(baud);
}

static uint8_t word_bytes(uint8_t format)
{
    static const uint8_t evt[] = {4, 8, 8, 2};
    static const uint8_t edvs[] = {2, 1, 4, 5, 6};
    return format < FORMAT_EDVS ? evt[format] : edvs[format - FORMAT_EDVS];
}

/* ---- commands ------------------------------------------------------------------------------------------------ */

static void say(const char *text)
{
    camera.out_used = 0;
    camera.out_filled = (uint8_t)strlen(text);
    memcpy(camera.out, text, camera.out_filled);
}

/* Returns 1 while some is left. */
static int write_out(void)
{
    if (camera.out_used < camera.out_filled) {
        const size_t left = (size_t)(camera.out_filled - camera.out_used);
        camera.out_used = (uint8_t)(camera.out_used + port_camera_write(camera.out + camera.out_used, left));
    }
    return camera.out_used < camera.out_filled;
}

/* Whether the byte is the end of the line in which the camera has said "EDVS": it listens from there on. */
static int ends_greeting(uint8_t byte)
{
    static const char name[] = "EDVS";
    if (camera.greeting_matched == sizeof name - 1u) {
        camera.greeting_matched = byte == '\n' ? 0 : camera.greeting_matched;
        return byte == '\n';
    }
    if (byte == (uint8_t)name[camera.greeting_matched])
        camera.greeting_matched++;
    else
        camera.greeting_matched = byte == 'E';
    return 0;
}

/* Read away what comes until the camera greets. The echo of the reset itself comes before. */
static int has_greeted(void)
{
    uint8_t byte;
    while (port_camera_read(&byte, 1) > 0)
        if (ends_greeting(byte))
            return 1;
    return port_counter() - camera.reset_at > GREETING_COUNTS;
}

static void set_up(void)
{
    char commands[] = "!U0\n!E0\nE+\n"; /* no echo; event format; events on */
    commands[6] = (char)('0' + camera.format - FORMAT_EDVS);
    say(commands);
    camera.state = SETTING_UP;
}

void app_camera_start(uint8_t format, uint32_t baud, int hold)
{
    port_camera_open(baud, hold);
    memset(&camera, 0, sizeof camera);
    camera.format = format;
    camera.word = word_bytes(format);
    camera.state = STREAMING;
    if (format >= FORMAT_EDVS) {
        camera.state = GREETING;
        camera.reset_at = port_counter();
        say("\nR\n"); /* the first ends a line that somebody left unfinished */
    }
}

void app_camera_start_frames(void)
{
    memset(&camera, 0, sizeof camera);
    camera.state = FRAMES;
    port_frames_open();
}

void app_camera_stop(void)
{
    if (camera.state == FRAMES) {
        port_frames_close();
        camera.state = CLOSED;
    } else if (camera.state != CLOSED) {
        port_camera_close();
        camera.state = CLOSED;
        if (camera.format >= FORMAT_EDVS) {
            say("\nE-\n");
            write_out();
        }
    }
}

int app_camera_step(void)
{
    if (camera.state == FRAMES)
        return port_frames_step();
    if (write_out())
        return 1;
    if (camera.state == GREETING) {
        if (has_greeted())
            set_up();
        return 1;
    }
    if (camera.state == SETTING_UP)
        camera.state = TEXT;
    return 0;
}

/* ---- bytes --------------------------------------------------------------------------------------------------- */

static void drop(size_t n)
{
    memmove(camera.pending, camera.pending + n, camera.filled - n);
    camera.filled = (uint8_t)(camera.filled - n);
}

/* Bytes were lost behind those that are pending: give up the word they cut, and find the next one by counting. */
static void realign(uint32_t lost)
{
    const uint32_t phase = camera.to_skip > 0 ? (uint32_t)camera.word - camera.to_skip : camera.filled;
    camera.skipped += camera.filled;
    camera.filled = 0;
    camera.to_skip = (uint8_t)((camera.word - (phase + lost) % camera.word) % camera.word);
}

static void take_in(void)
{
    const uint32_t lost = port_camera_lost();
    if (lost != camera.port_lost) {
        realign(lost - camera.port_lost);
        camera.port_lost = lost;
    }
    while (camera.to_skip > 0 && port_camera_read(camera.pending, 1) > 0) {
        camera.to_skip--;
        camera.skipped++;
    }
    if (camera.to_skip == 0) {
        camera.filled =
            (uint8_t)(camera.filled + port_camera_read(camera.pending + camera.filled, PENDING_BYTES - camera.filled));
    }
}

/* Replies are ASCII; an event begins with a byte that is not. */
static void drop_text(void)
{
    size_t n = 0;
    int greeted = 0;
    while (n < camera.filled && camera.pending[n] < 0x80u && !greeted)
        greeted = ends_greeting(camera.pending[n++]);
    drop(n);
    if (greeted)
        set_up();
    else if (camera.filled > 0)
        camera.state = STREAMING;
}

static uint32_t time_of(const uint8_t *event)
{
    uint32_t t = 0;
    for (uint32_t i = 2; i < camera.word; i++)
        t = t << 8 | event[i];
    return t;
}

/* The time that HUNT_EVENTS events take if the first begins at p; UINT64_MAX if they cannot. */
static uint64_t span_from(const uint8_t *p)
{
    const uint32_t bits = 8u * (camera.word - 2u);
    uint64_t span = 0;
    for (uint32_t i = 0; i < HUNT_EVENTS; i++, p += camera.word) {
        if (p[0] < 0x80u)
            return UINT64_MAX;
        if (i > 0)
            span += (time_of(p) - time_of(p - camera.word)) & (uint32_t)((UINT64_C(1) << bits) - 1u);
    }
    return span;
}

/* Find the start of an event again: where a row of events all begin with their top bit set and take the least time,
 * as a time put together from the wrong bytes jumps. Returns 0 when more bytes are needed. */
static int hunt(void)
{
    const uint32_t needed = (HUNT_EVENTS + 1u) * camera.word - 1u;
    while (camera.filled >= needed) {
        uint64_t least = UINT64_MAX;
        uint32_t best = camera.word;
        for (uint32_t phase = 0; phase < camera.word; phase++) {
            const uint64_t span = span_from(camera.pending + phase);
            if (span < least) {
                least = span;
                best = phase;
            }
        }
        drop(best);
        camera.skipped += best;
        if (best < camera.word) {
            camera.hunting = 0;
            return 1;
        }
    }
    return 0;
}

/* Whole words to out, at most n bytes. An eDVS event without its mark ends it: hunt. */
static size_t hand_over(uint8_t *out, size_t n)
{
    const size_t word = camera.word;
    const size_t most = camera.filled < n ? camera.filled : n;
    size_t done = 0;
    while (done + word <= most && !camera.hunting)
        if (camera.format >= FORMAT_EDVS && word > 1 && camera.pending[done] < 0x80u)
            camera.hunting = 1;
        else
            done += word;
    memcpy(out, camera.pending, done);
    drop(done);
    return done;
}

/* What was lost in front of the next word is known before that is taken, and the other way round. */
static size_t take_frames(uint8_t *out, size_t n)
{
    const size_t done = port_frames_read(out, n);
    if (done > 0)
        return done;
    camera.frames_lost = port_frames_lost();
    return port_frames_read(out, n);
}

size_t app_camera_take(uint8_t *out, size_t n)
{
    size_t done = 0;
    if (camera.state == FRAMES)
        return take_frames(out, n);
    if (camera.state != TEXT && camera.state != STREAMING)
        return 0;
    for (;;) {
        if (camera.hunting ? !hunt() : camera.filled < camera.word)
            take_in();
        if (camera.state == TEXT)
            drop_text();
        if (camera.state != STREAMING)
            return done;
        if (camera.hunting && !hunt())
            return done;
        const size_t got = hand_over(out + done, n - done);
        done += got;
        if (got == 0 && !camera.hunting)
            return done;
    }
}

uint8_t app_camera_level(void)
{
    return camera.state == FRAMES ? port_frames_level() : port_camera_level();
}

uint64_t app_camera_lost(void)
{
    return camera.frames_lost.bytes + camera.port_lost + camera.skipped;
}

uint64_t app_camera_lost_events(void)
{
    return camera.frames_lost.events;
}
