/* Misuse of the library: a caller's bug, which no input can bring about. What comes from outside is never asserted: it ends
 * in an error code. */
#ifndef SP_ASSERT_H_INCLUDED
#define SP_ASSERT_H_INCLUDED

/* Built with SP_DEBUG, SP_ASSERT looks at its condition and calls sp_assert_failed, which the program brings along and which
 * must not return: halt, report, jump to a test's end. Built without it, nothing is evaluated and no code is made. */
#ifdef SP_DEBUG

#ifdef __cplusplus
extern "C" {
#endif

/* condition: its text. Called from wherever the library was. */
void sp_assert_failed(const char *file, int line, const char *condition);

#ifdef __cplusplus
}
#endif

#define SP_ASSERT(condition) ((condition) ? (void)0 : sp_assert_failed(__FILE__, __LINE__, #condition))

#else
#define SP_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0)) /* its names count as used */
#endif

#endif
