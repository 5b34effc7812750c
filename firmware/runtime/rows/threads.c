/* Threads that wait for work in a loop for a while, and then asleep. Whoever is free takes the next item, so that a thread
 * that the system has put aside holds up none but the item it is at.
 *
 * `turn` says which work there is, and the next item of it: turn << 32 | item. An odd turn is work that is being written
 * down. Nobody takes an item by what he has read of a work that is over: taking it is an exchange of the whole word. */
#define _GNU_SOURCE /* clock_gettime and affinities, and no other meaning of any name here */

#include "spedge/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <time.h>

enum { WAIT_NS = 100000, LOOKS = 64 }; /* longer than what one thread does alone between two works of a model */

typedef void (*work_t)(const void *context, int32_t item, int32_t worker);

static uint32_t threads = 1;
static pthread_t workers[SP_THREADS_MOST]; /* [1 to there - 1] */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static uint32_t asleep; /* by `lock` where it is written */
static uint64_t turn;
static uint32_t done; /* items of the work at hand */
static struct {
    work_t work;
    const void *context;
    int32_t items, most;
} job;

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Do items of the work at hand until none is left to take. */
static void take_items(int32_t worker)
{
    for (;;) {
        uint64_t seen = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
        const work_t work = __atomic_load_n(&job.work, __ATOMIC_ACQUIRE);
        const void *const context = __atomic_load_n(&job.context, __ATOMIC_ACQUIRE);
        const int32_t items = __atomic_load_n(&job.items, __ATOMIC_ACQUIRE);
        const int32_t most = __atomic_load_n(&job.most, __ATOMIC_ACQUIRE), item = (int32_t)(uint32_t)seen;
        if ((seen >> 32 & 1u) != 0 || item >= items || worker >= most)
            return;
        if (!__atomic_compare_exchange_n(&turn, &seen, seen + 1u, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        work(context, item, worker);
        __atomic_fetch_add(&done, 1u, __ATOMIC_RELEASE);
    }
}

static uint32_t turn_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

/* Until there is another work than that of a turn. */
static uint32_t wait_for_work(uint32_t known)
{
    const uint64_t begin = now_ns();
    uint32_t seen;
    do {
        for (int look = 0; look < LOOKS; ++look) {
            seen = turn_of(__atomic_load_n(&turn, __ATOMIC_ACQUIRE));
            if (seen != known && (seen & 1u) == 0)
                return seen;
            pause_a_little();
        }
    } while (now_ns() - begin < WAIT_NS);
    pthread_mutex_lock(&lock);
    __atomic_fetch_add(&asleep, 1u, __ATOMIC_SEQ_CST);
    for (;;) {
        seen = turn_of(__atomic_load_n(&turn, __ATOMIC_SEQ_CST));
        if (seen != known && (seen & 1u) == 0)
            break;
        pthread_cond_wait(&wake, &lock);
    }
    __atomic_fetch_sub(&asleep, 1u, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&lock);
    return seen;
}

static void *be_a_worker(void *number)
{
    uint32_t known = 0;
    for (;;) {
        known = wait_for_work(known);
        take_items((int32_t)(intptr_t)number);
    }
    return NULL;
}

/* The system wakes a worker on the processor of whoever wakes it even where others are idle, and moves one of them only some
 * milliseconds later, when a small model is done: let them wake on the others. */
static void keep_workers_off_this_processor(void)
{
    cpu_set_t others;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof others, &others) != 0)
        return;
    CPU_CLR((size_t)here, &others);
    for (uint32_t i = 1; i < threads && CPU_COUNT(&others) > 0; ++i)
        pthread_setaffinity_np(workers[i], sizeof others, &others);
}

/* There is new work: those who look see it, those who sleep are woken. */
static void begin(uint64_t word)
{
    __atomic_store_n(&turn, word, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&asleep, __ATOMIC_SEQ_CST) != 0) {
        keep_workers_off_this_processor();
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&lock);
    }
}

uint32_t sp_threads(void)
{
    return threads;
}

/* Threads that are there stay, where fewer are asked for: they are given nothing. */
uint32_t sp_threads_start(uint32_t wanted)
{
    static uint32_t there = 1;
    for (; there < wanted && there < SP_THREADS_MOST; ++there) {
        if (pthread_create(&workers[there], NULL, be_a_worker, (void *)(intptr_t)there) != 0)
            break;
        pthread_detach(workers[there]);
    }
    threads = wanted < 1 ? 1 : wanted < there ? wanted : there;
    return threads;
}

void sp_threads_share(work_t work, const void *context, int32_t items, int32_t most)
{
    const int32_t here = most < (int32_t)threads ? most : (int32_t)threads;
    if (here < 2 || items < 2) {
        for (int32_t item = 0; item < items; ++item)
            work(context, item, 0);
        return;
    }
    const uint64_t next = (uint64_t)turn_of(__atomic_load_n(&turn, __ATOMIC_RELAXED)) + 1u;
    __atomic_store_n(&turn, next << 32, __ATOMIC_RELEASE); /* odd: seen by whoever sees one of the following */
    __atomic_store_n(&job.work, work, __ATOMIC_RELEASE);
    __atomic_store_n(&job.context, context, __ATOMIC_RELEASE);
    __atomic_store_n(&job.items, items, __ATOMIC_RELEASE);
    __atomic_store_n(&job.most, here, __ATOMIC_RELEASE);
    __atomic_store_n(&done, 0u, __ATOMIC_RELAXED);
    begin((uint64_t)(uint32_t)(next + 1u) << 32);
    take_items(0);
    for (int look = 0; __atomic_load_n(&done, __ATOMIC_ACQUIRE) < (uint32_t)items; ++look) {
        pause_a_little();
        if (look > 1 << 16) /* whoever has the last item may be waiting for this very processor */
            clock_nanosleep(CLOCK_MONOTONIC, 0, &(const struct timespec){0, 1000}, NULL);
    }
}
