/* What the measuring programs share; included by the one file that each of them is. The emulator's loader puts their input
 * into the port's memory; they say one line of text, beginning with a word on what is wrong where something is. */
#ifndef SP_BENCH_H_INCLUDED
#define SP_BENCH_H_INCLUDED

#include "port.h"

#include <string.h>

/* The input ends here; what is behind it is free. */
static inline size_t bench_after(size_t bytes)
{
    return (bytes + 15u) & ~(size_t)15u;
}

static void say(const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        const size_t written = port_write((const uint8_t *)text, n);
        text += written;
        n -= written;
    }
}

static void say_number(uint64_t number, const char *after)
{
    char digits[21], *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + number % 10u);
        number /= 10u;
    } while (number > 0);
    say(at);
    say(after);
}

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    (void)detail_a;
    (void)detail_b;
    say(text);
    say("\n");
    for (;;)
        port_idle();
}

static void measure(uint8_t *memory, size_t size);

int main(int argc, char **argv)
{
    size_t size;
    port_init(argc, argv);
    uint8_t *memory = port_memory(PORT_MEMORY_BULK, &size);
    if (memcmp(memory, BENCH_MAGIC, 4) == 0)
        measure(memory, size);
    else
        say("no recording in memory\n");
    for (;;)
        port_idle();
}

#endif
