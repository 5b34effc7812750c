/* The program behind `spedge bench`: runs the model alone on rows from the host and says what it cost.
 * Request: u32 count, float [count][hidden]. Reply: u32 magic, i32 status, u64 cost in the port's unit, u32 bytes of
 * stack, float [numbers of all outputs]; from a model with probes also u32 [probes], the cost of each kernel call. Little-endian,
 * on the link of an emulated board, which loses nothing. */
#include "model.h"
#include "port.h"

#include <string.h>

enum { PAINTED = 8192, GAP = 96, PAINT = 0xa5 };

static const uint32_t bench_magic = 0x43504253u; /* "SBPC" */

typedef struct reply {
    uint32_t magic;
    int32_t status;
    uint32_t cost[2]; /* low word first */
    uint32_t stack;
} reply_t;

static void read_all(void *out, size_t n)
{
    uint8_t *to = (uint8_t *)out;
    while (n != 0) {
        const size_t got = port_read(to, n);
        to += got;
        n -= got;
        if (got == 0)
            port_idle();
    }
}

static void write_all(const void *data, size_t n)
{
    const uint8_t *from = (const uint8_t *)data;
    while (n != 0) {
        const size_t done = port_write(from, n);
        from += done;
        n -= done;
        if (done == 0)
            port_idle();
    }
}

static void send(int status, uint64_t cost, uint32_t stack)
{
    const reply_t reply = {bench_magic, status, {(uint32_t)cost, (uint32_t)(cost >> 32)}, stack};
    write_all(&reply, sizeof reply);
}

/* The stack grows down on every core that we have. Where a function called from here finds it. */
static __attribute__((noinline)) uintptr_t stack_pointer(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

/* Paint what lies below, and later look how far it was used; the gap keeps these functions' own frames whole. */
static __attribute__((noinline)) void paint(volatile uint8_t *below)
{
    for (size_t i = GAP; i < PAINTED; ++i)
        *(below - i) = PAINT;
}

static __attribute__((noinline)) uint32_t used(volatile uint8_t *below)
{
    size_t i = PAINTED - 1;
    while (i > GAP && *(below - i) == PAINT)
        --i;
    return (uint32_t)i;
}

#ifdef SP_MODEL_PROBES
enum { EMPTY_RUNS = 1000 };

static uint64_t probe_started;
static uint32_t probe_costs[SP_MODEL_PROBES], probe_calls[SP_MODEL_PROBES];

void sp_probe_begin(int32_t site)
{
    (void)site;
    probe_started = port_counter();
}

void sp_probe_end(int32_t site, int32_t block, int32_t head, const void *out)
{
    (void)block;
    (void)head;
    (void)out;
    probe_costs[site] += (uint32_t)(port_counter() - probe_started);
    ++probe_calls[site];
}

/* The probes' own cost, measured with nothing between them, is taken off. */
static void send_probes(void)
{
    uint32_t costs[SP_MODEL_PROBES];
    uint32_t calls[SP_MODEL_PROBES];
    memcpy(costs, probe_costs, sizeof costs);
    memcpy(calls, probe_calls, sizeof calls);
    probe_costs[0] = 0;
    for (int i = 0; i < EMPTY_RUNS; ++i) {
        sp_probe_begin(0);
        sp_probe_end(0, 0, 0, NULL);
    }
    for (int i = 0; i < SP_MODEL_PROBES; ++i) {
        const uint32_t own = (uint32_t)((uint64_t)calls[i] * probe_costs[0] / EMPTY_RUNS);
        costs[i] = costs[i] > own ? costs[i] - own : 0;
    }
    write_all(costs, sizeof costs);
    memset(probe_costs, 0, sizeof probe_costs);
    memset(probe_calls, 0, sizeof probe_calls);
}
#else
static void send_probes(void)
{
}
#endif

int app_compute(uint32_t threads, const char *vectors)
{
    return sp_model.use != NULL ? sp_model.use(threads, vectors) : SP_OK;
}

int main(int argc, char **argv)
{
    size_t size;
    port_init(argc, argv);
    uint8_t *arena = (uint8_t *)port_memory(PORT_MEMORY_BULK, &size);
    volatile uint8_t *stack = (volatile uint8_t *)stack_pointer();
    for (;;) {
        uint32_t count;
        read_all(&count, sizeof count);
        if (size < sp_model.arena_bytes || count > sp_model.tokens) {
            send(SP_ERR_CAPACITY, 0, 0);
            continue;
        }
        read_all(arena + sp_model.input_offset, (size_t)count * sp_model.embed.hidden * sizeof(float));
        paint(stack);
        const uint64_t start = port_counter();
        const int status = sp_model.encode(arena, count);
        const uint64_t cost = port_counter() - start;
        send(status, cost, used(stack));
        for (uint8_t i = 0; i < sp_model.output_count; ++i) {
            const sp_output_t *output = &sp_model.outputs[i];
            write_all(sp_model_output(arena, output), output->size * sizeof(float));
        }
        send_probes();
    }
}

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    (void)text;
    send(SP_ERR_CAPACITY - 1000, ((uint64_t)detail_b << 32) | detail_a, 0);
    for (;;)
        port_idle();
}
