/* Events written as text, a line each: numbers between spaces, tabs or a separator.
 *
 * Made for files of gigabytes: plain lines are read here, and everything else is left to the caller, who can say what is
 * wrong with it.
 */
#ifndef SP_TEXT_EVENTS_H_INCLUDED
#define SP_TEXT_EVENTS_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

enum { SP_TEXT_T, SP_TEXT_X, SP_TEXT_Y, SP_TEXT_P, SP_TEXT_OTHER };
enum { SP_TEXT_COLUMNS_MAX = 32, SP_TEXT_RECORD = 13 };

typedef struct {
    uint8_t column[SP_TEXT_COLUMNS_MAX]; /* what each holds, SP_TEXT_T to SP_TEXT_OTHER (passed over) */
    uint8_t columns;                     /* in a line, exactly */
    char separator;                      /* ' ' for spaces and tabs in any number; else spaces may be beside it */
    int8_t exponent;                     /* times are multiplied by 10^exponent to be microseconds */
    uint8_t whole_times; /* times that are no whole microseconds are not plain; else a half is rounded up */
} sp_text_layout_t;

/* Read plain lines of in, n bytes, as at most capacity events of SP_TEXT_RECORD bytes: t (8, microseconds), x and y (2
 * each, pixels), p (1; written 0, 1, -1, +1, True or False), in the machine's order. Lines end in \n; blank ones and those
 * that begin with # or % are passed over. Stops before the first line that is not plain or not whole, or when the room is
 * taken; *used says how many bytes and *lines how many lines were read. Returns the events. Never blocks. */
size_t sp_text_read(const sp_text_layout_t *layout, const char *in, size_t n, uint8_t *records, size_t capacity,
                    size_t *used, size_t *lines);

#endif
