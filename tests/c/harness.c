#include "harness.h"

#include "spedge/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TESTS 512

static struct {
    const char *name;
    void (*run)(void);
} tests[MOST_TESTS];
static size_t test_count;
static jmp_buf failed;
jmp_buf harness_misuse;
int harness_expects_misuse;

/* Blocks of the running test. */
struct block {
    struct block *next;
    uint64_t bytes[]; /* aligned to 8 */
};
static struct block *blocks;

void harness_add(const char *name, void (*run)(void))
{
    if (test_count == MOST_TESTS)
        abort();
    tests[test_count].name = name;
    tests[test_count++].run = run;
}

void harness_fail(const char *file, int line, const char *what)
{
    printf("    %s:%d: %s\n", file, line, what);
    longjmp(failed, 1);
}

void harness_fail_values(const char *file, int line, const char *what, long long a, long long b)
{
    printf("    %s:%d: %s: %lld is not %lld\n", file, line, what, a, b);
    longjmp(failed, 1);
}

void sp_assert_failed(const char *file, int line, const char *condition)
{
    if (harness_expects_misuse)
        longjmp(harness_misuse, 1);
    harness_fail(file, line, condition);
}

uint32_t harness_random(uint32_t *state, uint32_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state % below;
}

void *harness_alloc(size_t size)
{
    struct block *block = malloc(sizeof *block + size);
    if (!block)
        abort();
    block->next = blocks;
    blocks = block;
    memset(block->bytes, 0xA5, size);
    return block->bytes;
}

static void free_blocks(void)
{
    while (blocks) {
        struct block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

static int run(size_t i)
{
    const int bad = setjmp(failed);
    if (!bad)
        tests[i].run();
    harness_expects_misuse = 0;
    free_blocks();
    printf("%s %s\n", bad ? "FAIL" : "ok  ", tests[i].name);
    return bad;
}

static int is_named(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(name, argv[i]) == 0)
            return 1;
    return argc == 1;
}

int main(int argc, char **argv)
{
    size_t ran = 0, bad = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < test_count; i++) {
        if (is_named(tests[i].name, argc, argv)) {
            ran++;
            bad += (size_t)run(i);
        }
    }
    printf("%zu tests, %zu failed\n", ran, bad);
    return bad || ran == 0;
}
