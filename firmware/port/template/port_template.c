/* A port to copy: it builds anywhere, talks to nobody and sleeps never. Each TODO is a line or two for most chips. */
#include "port.h"

/* With a camera port: a receive interrupt that calls port_ring_put (ring.h), as in stm32/. */
#include "no_camera.h"
#include "no_frames.h"
#include "no_reboot.h"

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "template"
#endif
#ifndef SP_PORT_MEMORY_BYTES
#define SP_PORT_MEMORY_BYTES (64u << 10)
#endif

static _Alignas(16) unsigned char memory[SP_PORT_MEMORY_BYTES];

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    /* TODO: clocks (bound every wait for a flag), FPU, the UART with its receive interrupt, the counter. */
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_CYCLES};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    (void)out;
    (void)capacity;
    return 0; /* TODO: bytes that the receive interrupt or DMA has put aside */
}

size_t port_write(const uint8_t *data, size_t n)
{
    (void)data;
    (void)n;
    return 0; /* TODO: write while the transmitter has room, return how many were taken */
}

uint64_t port_counter(void)
{
    static uint64_t count;
    return ++count; /* TODO: the cycle counter, extended to 64 bits */
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    *size = kind == PORT_MEMORY_BULK ? sizeof memory : 0; /* TODO: PORT_MEMORY_FAST, where some of it is faster */
    return memory;
}

port_image_t port_image(void)
{
    return (port_image_t){0}; /* with the symbols that linked_image.h names: include it instead */
}

void port_idle(void)
{
    /* TODO: WFI; see README.md for what has to wake it. */
}
