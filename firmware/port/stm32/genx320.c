#include "genx320.h"

#include "board.h"

#if defined(BOARD_FRAMES_PINS)

#include "i2c.h"
#include "port.h"

#define ADDRESS 0x3cu
#define CHIP_ID 0x0014u
#define ENGINEERING_SAMPLE 0x30501c01u
#define PRODUCT 0xb0602003u
/* Between two words: a millisecond, as its maker waits, on a core of 480 MHz; longer on slower ones. */
#define COUNTS_PER_US 480u
#define BETWEEN_US 1000u

enum { WRITES, READS, WAITS };

typedef struct word {
    uint16_t at; /* register */
    uint8_t what;
    uint32_t value; /* or us */
} word_t;

#define WRITE(at, value) {at, WRITES, value},
#define READ(at) {at, READS, 0},
#define WAIT_US(us) {0, WAITS, us},
static const word_t stop[] = {
#include "genx320_stop.h"
};
static const word_t set_up[] = {
#include "genx320_set_up.h"
};
static const word_t start[] = {
#include "genx320_start.h"
};

#define SET_UP_AT (sizeof stop / sizeof *stop)
#define START_AT (SET_UP_AT + sizeof set_up / sizeof *set_up)
#define WORDS (START_AT + sizeof start / sizeof *start)

static struct {
    uint32_t next; /* of all three, one behind the other; WORDS: it sends */
    uint8_t sends; /* it has been set up before */
    uint64_t since;
    uint32_t wait_us;
} sensor = {.next = WORDS};

static int read_register(uint32_t i2c, uint16_t at, uint32_t *value)
{
    const uint8_t which[] = {(uint8_t)(at >> 8), (uint8_t)at};
    uint8_t said[4];
    if (!i2c_read(i2c, ADDRESS, which, sizeof which, said, sizeof said))
        return 0;
    *value = (uint32_t)said[0] << 24 | (uint32_t)said[1] << 16 | (uint32_t)said[2] << 8 | said[3];
    return 1;
}

static int write_register(uint32_t i2c, uint16_t at, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)(at >> 8),     (uint8_t)at,           (uint8_t)(value >> 24),
                             (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    return i2c_write(i2c, ADDRESS, bytes, sizeof bytes);
}

int genx320_answers(uint32_t i2c)
{
    uint32_t id;
    return read_register(i2c, CHIP_ID, &id) && (id == PRODUCT || id == ENGINEERING_SAMPLE);
}

void genx320_begin(void)
{
    sensor.next = sensor.sends ? 0 : SET_UP_AT;
    sensor.since = port_counter();
    sensor.wait_us = 0;
}

int genx320_is_set_up(void)
{
    return sensor.next >= START_AT;
}

int genx320_sends(void)
{
    return sensor.next == WORDS;
}

static const word_t *next_word(void)
{
    if (sensor.next < SET_UP_AT)
        return &stop[sensor.next];
    return sensor.next < START_AT ? &set_up[sensor.next - SET_UP_AT] : &start[sensor.next - START_AT];
}

static int say(uint32_t i2c, const word_t *word)
{
    uint32_t ignored;
    return word->what == WAITS ||
           (word->what == READS ? read_register(i2c, word->at, &ignored) : write_register(i2c, word->at, word->value));
}

int genx320_step(uint32_t i2c)
{
    if (genx320_sends())
        return 0;
    const uint64_t now = port_counter();
    if (now - sensor.since < (uint64_t)sensor.wait_us * COUNTS_PER_US)
        return 1;
    const word_t *word = next_word();
    if (say(i2c, word)) {
        sensor.next++;
        sensor.sends = sensor.next == WORDS;
    } else {
        sensor.next = SET_UP_AT;
    }
    sensor.since = now;
    sensor.wait_us = BETWEEN_US + (word->what == WAITS ? word->value : 0);
    return 1;
}

#endif
