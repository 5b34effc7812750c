#include "text_events.h"

#include <string.h>

/* mantissa * 10^exponent; more digits than fit are cut off behind the point. */
typedef struct {
    uint64_t mantissa;
    int exponent;
    int negative;
} number_t;

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One decimal digit more; 0 where it does not fit. */
static int append(uint64_t *mantissa, char digit)
{
    return !__builtin_mul_overflow(*mantissa, 10, mantissa) &&
           !__builtin_add_overflow(*mantissa, (uint64_t)(digit - '0'), mantissa);
}

/* Digits behind the point; those that do not fit any more are dropped. */
static const char *read_fraction(const char *c, number_t *out)
{
    int full = 0;
    for (; is_digit(*c); c++) {
        uint64_t longer = out->mantissa;
        full = full || !append(&longer, *c);
        if (!full) {
            out->mantissa = longer;
            out->exponent--;
        }
    }
    return c;
}

/* Behind e or E; NULL if there is none that makes sense. */
static const char *read_exponent(const char *c, number_t *out)
{
    int negative = *c == '-', value = 0;
    c += *c == '-' || *c == '+';
    if (!is_digit(*c))
        return NULL;
    for (; is_digit(*c); c++) {
        value = value * 10 + (*c - '0');
        if (value > 999)
            return NULL;
    }
    out->exponent += negative ? -value : value;
    return c;
}

/* The number that begins at c; NULL if none does. The text ends in a \n somewhere. */
static const char *read_number(const char *c, number_t *out)
{
    *out = (number_t){0, 0, *c == '-'};
    c += *c == '-' || *c == '+';
    const char *digits = c;
    for (; is_digit(*c); c++)
        if (!append(&out->mantissa, *c))
            return NULL;
    int some = c > digits;
    if (*c == '.') {
        digits = ++c;
        c = read_fraction(c, out);
        some = some || c > digits;
    }
    if (some && (*c == 'e' || *c == 'E'))
        return read_exponent(c + 1, out);
    return some ? c : NULL;
}

static const uint64_t POWERS[20] = {1ull,
                                    10ull,
                                    100ull,
                                    1000ull,
                                    10000ull,
                                    100000ull,
                                    1000000ull,
                                    10000000ull,
                                    100000000ull,
                                    1000000000ull,
                                    10000000000ull,
                                    100000000000ull,
                                    1000000000000ull,
                                    10000000000000ull,
                                    100000000000000ull,
                                    1000000000000000ull,
                                    10000000000000000ull,
                                    100000000000000000ull,
                                    1000000000000000000ull,
                                    10000000000000000000ull};

/* The number as a whole one, a half rounded up; 0 if it does not fit, or has a fraction though it must not. */
static int to_whole(const number_t *in, int exact, uint64_t *out)
{
    if (in->mantissa == 0) {
        *out = 0;
        return 1;
    }
    if (in->negative || in->exponent > 19)
        return 0;
    if (in->exponent >= 0)
        return !__builtin_mul_overflow(in->mantissa, POWERS[in->exponent], out);
    if (in->exponent < -19) { /* below 2^64 / 10^20, less than a half */
        *out = 0;
        return !exact;
    }
    uint64_t power = POWERS[-in->exponent], rest = in->mantissa % power;
    *out = in->mantissa / power + (rest >= power - rest);
    return !exact || rest == 0;
}

static const char *read_pixel(const char *c, uint16_t *out)
{
    number_t number;
    uint64_t value;
    c = read_number(c, &number);
    if (c == NULL || !to_whole(&number, 1, &value) || value > UINT16_MAX)
        return NULL;
    *out = (uint16_t)value;
    return c;
}

static const char *read_time(const char *c, const sp_text_layout_t *layout, uint64_t *out)
{
    number_t number;
    c = read_number(c, &number);
    if (c == NULL)
        return NULL;
    number.exponent += layout->exponent;
    return to_whole(&number, layout->whole_times, out) ? c : NULL;
}

static const char *read_polarity(const char *c, uint8_t *out)
{
    static const struct {
        const char *word;
        uint8_t value;
    } WORDS[] = {{"True", 1}, {"False", 0}, {"true", 1}, {"false", 0}, {"TRUE", 1}, {"FALSE", 0}};
    if ((*c | 0x20) == 't' || (*c | 0x20) == 'f') {
        for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
            size_t length = strlen(WORDS[i].word);
            if (strncmp(c, WORDS[i].word, length) == 0) { /* stops at the \n */
                *out = WORDS[i].value;
                return c + length;
            }
        }
        return NULL;
    }
    number_t number;
    uint64_t value;
    c = read_number(c, &number);
    int negative = number.negative;
    number.negative = 0;
    if (c == NULL || !to_whole(&number, 1, &value) || value > 1)
        return NULL;
    *out = value == 1 && !negative;
    return c;
}

/* Past a number of a column that nobody asked for, or a word. */
static const char *pass_over(const char *c, char separator)
{
    while (*c != '\n' && *c != '\r' && *c != separator && !(separator == ' ' && *c == '\t'))
        c++;
    return c;
}

static const char *skip_blanks(const char *c)
{
    while (*c == ' ' || *c == '\t')
        c++;
    return c;
}

/* Past the separator in front of a column; NULL if it is not there. */
static const char *read_separator(const char *c, char separator)
{
    const char *next = skip_blanks(c);
    if (separator == ' ')
        return next > c ? next : NULL;
    return *next == separator ? skip_blanks(next + 1) : NULL;
}

typedef struct {
    uint64_t t;
    uint16_t x, y;
    uint8_t p;
} event_t;

/* The end of the line at c, past its \n; NULL if it is not plain. */
static const char *read_line(const char *c, const sp_text_layout_t *layout, event_t *out)
{
    c = skip_blanks(c);
    for (int i = 0; i < layout->columns; i++) {
        if (i > 0) {
            c = read_separator(c, layout->separator);
            if (c == NULL)
                return NULL;
        }
        switch (layout->column[i]) {
        case SP_TEXT_T:
            c = read_time(c, layout, &out->t);
            break;
        case SP_TEXT_X:
            c = read_pixel(c, &out->x);
            break;
        case SP_TEXT_Y:
            c = read_pixel(c, &out->y);
            break;
        case SP_TEXT_P:
            c = read_polarity(c, &out->p);
            break;
        default:
            c = pass_over(c, layout->separator);
        }
        if (c == NULL)
            return NULL;
    }
    c = skip_blanks(c);
    c += *c == '\r';
    return *c == '\n' ? c + 1 : NULL;
}

/* Past a line without an event; c itself if it may have one. */
static const char *skip_line(const char *c, const char *end)
{
    const char *first = skip_blanks(c);
    if (*first == '#' || *first == '%')
        return (const char *)memchr(first, '\n', (size_t)(end - first)) + 1;
    first += *first == '\r';
    return *first == '\n' ? first + 1 : c;
}

static uint8_t *write_record(uint8_t *record, const event_t *event)
{
    memcpy(record, &event->t, 8);
    memcpy(record + 8, &event->x, 2);
    memcpy(record + 10, &event->y, 2);
    record[12] = event->p;
    return record + SP_TEXT_RECORD;
}

size_t sp_text_read(const sp_text_layout_t *layout, const char *in, size_t n, uint8_t *records, size_t capacity,
                    size_t *used, size_t *lines)
{
    const char *c = in;
    const char *end = in + n;
    while (end > in && end[-1] != '\n') /* what is read ends in \n, so that no line runs over it */
        end--;
    size_t events = 0;
    *lines = 0;
    while (c < end && events < capacity) {
        const char *next = skip_line(c, end);
        if (next == c) {
            event_t event = {0, 0, 0, 0};
            next = read_line(c, layout, &event);
            if (next == NULL)
                break;
            records = write_record(records, &event);
            events++;
        }
        c = next;
        ++*lines;
    }
    *used = (size_t)(c - in);
    return events;
}
