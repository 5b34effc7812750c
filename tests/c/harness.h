/* A test is TEST(name) { ... CHECK(...); }. It registers itself and runs by name or with all others. */
#ifndef HARNESS_H_INCLUDED
#define HARNESS_H_INCLUDED

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

void harness_add(const char *name, void (*run)(void));
void harness_fail(const char *file, int line, const char *what);
void harness_fail_values(const char *file, int line, const char *what, long long a, long long b);

#define TEST(name) \
    static void name(void); \
    __attribute__((constructor)) static void add_##name(void) \
    { \
        harness_add(#name, name); \
    } \
    static void name(void)

/* A failed check ends the test. */
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            harness_fail(__FILE__, __LINE__, #condition); \
    } while (0)

#define CHECK_EQ(a, b) \
    do { \
        const long long check_a = (long long)(a), check_b = (long long)(b); \
        if (check_a != check_b) \
            harness_fail_values(__FILE__, __LINE__, #a " == " #b, check_a, check_b); \
    } while (0)

/* The library says that the statement misuses it (built with SP_DEBUG). */
#define CHECK_MISUSE(statement) \
    do { \
        if (!setjmp(harness_misuse)) { \
            harness_expects_misuse = 1; \
            statement; \
            harness_fail(__FILE__, __LINE__, "no misuse: " #statement); \
        } \
        harness_expects_misuse = 0; \
    } while (0)

extern jmp_buf harness_misuse;
extern int harness_expects_misuse;

/* Reproducible random numbers. */
uint32_t harness_random(uint32_t *state, uint32_t below);

/* malloc that ends the test run instead of returning NULL; freed when the test ends. */
void *harness_alloc(size_t size);

#endif
