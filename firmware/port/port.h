/* What the application needs of a board: the whole porting surface.
 * Everything is called from the main loop only; nothing here may block but port_idle. */
#ifndef SP_PORT_H_INCLUDED
#define SP_PORT_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What port_counter counts; the numbers are on the wire (SPEC.md). */
enum { PORT_UNIT_NONE = 0, PORT_UNIT_INSTRUCTIONS = 1, PORT_UNIT_NANOSECONDS = 2, PORT_UNIT_CYCLES = 3 };

typedef struct port_info {
    const char *board; /* as in the board's manifest */
    uint8_t counter_unit;
} port_info_t;

/* Called once, first. Clocks, FPU, link, counter. argc and argv are those of main; 0 and NULL on bare metal. */
void port_init(int argc, char **argv);

const port_info_t *port_info(void);

/* Copy bytes that have arrived from the host to out; returns how many, 0 when there are none.
 * A byte that was lost on the way (an overrun) needs no report: the frame's CRC catches it. */
size_t port_read(uint8_t *out, size_t capacity);

/* Hand bytes to the host; returns how many were taken, 0 when there is no room now. */
size_t port_write(const uint8_t *data, size_t n);

/* A counter that never goes back, in the unit of port_info. */
uint64_t port_counter(void);

/* The memory for pools, reports and the model's arena: one block, 16-byte aligned, the same at every call. */
void *port_memory(size_t *size);

/* Nothing to do: sleep until bytes arrive, or there is room to write again after port_write took less than it
 * was given. May return early, and may do nothing. */
void port_idle(void);

/* For ports: say over the link, as an ERROR frame nobody asked for, that the device has failed, and stop. */
void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b);

#ifdef __cplusplus
}
#endif
#endif
