/* Loops that are written once and specialised by constants. */
#ifndef SP_HOST_INLINE_H_INCLUDED
#define SP_HOST_INLINE_H_INCLUDED

#include <stdint.h>

#if defined(__GNUC__)
#define SP_INLINE static inline __attribute__((always_inline, unused))
#define SP_APART __attribute__((noinline)) /* a function whose work is to cost the loop that calls it nothing */
#define SP_RARELY(condition) __builtin_expect(!!(condition), 0)
#define SP_PREFETCH_TO_READ(from, bytes) __builtin_prefetch((const void *)((uintptr_t)(from) + (bytes)))
#define SP_PREFETCH_TO_WRITE(from, bytes) __builtin_prefetch((const void *)((uintptr_t)(from) + (bytes)), 1)
#else
#define SP_INLINE static inline
#define SP_APART
#define SP_RARELY(condition) (condition)
#define SP_PREFETCH_TO_READ(from, bytes) ((void)(from), (void)(bytes))
#define SP_PREFETCH_TO_WRITE(from, bytes) ((void)(from), (void)(bytes))
#endif

#endif
