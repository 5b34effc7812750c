/* Inlining that holds at -Os too: the per-event loops are written once and specialised by constants. */
#ifndef SP_INLINE_H_INCLUDED
#define SP_INLINE_H_INCLUDED

#if defined(__GNUC__)
#define SP_INLINE static inline __attribute__((always_inline, unused))
#define SP_APART __attribute__((noinline))
#define SP_RARELY(condition) __builtin_expect(!!(condition), 0)
#define SP_RARE_CALL \
    __attribute__((cold, noinline)) /* a function whose callers should spare their registers for others */
#else
#define SP_INLINE static inline
#define SP_APART
#define SP_RARELY(condition) (condition)
#define SP_RARE_CALL
#endif

#endif
