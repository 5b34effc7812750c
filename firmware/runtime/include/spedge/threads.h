/* Work that several threads of a Linux process share. */
#ifndef SP_THREADS_H_INCLUDED
#define SP_THREADS_H_INCLUDED

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SP_THREADS_MOST = 64 };

/* Have so many threads at work from now on, the caller's among them: 1 to SP_THREADS_MOST. The others wait where there is
 * nothing to do, and sleep soon. Returns how many there are, which is fewer where the system gives no more. Not while
 * sp_threads_share is under way. */
uint32_t sp_threads_start(uint32_t threads);

/* How many there are. */
uint32_t sp_threads(void);

/* Call work(context, item, worker) once for each item from 0 on below `items`, in any order, on up to `most` threads, and
 * return when all is done. worker: the thread's number, below `most`; the caller's is 0. One caller at a time. */
void sp_threads_share(void (*work)(const void *context, int32_t item, int32_t worker), const void *context,
                      int32_t items, int32_t most);

#ifdef __cplusplus
}
#endif
#endif
