/* The camera port and the RAM source of a board that has neither; included by its port. */
#ifndef SP_PORT_NO_CAMERA_H_INCLUDED
#define SP_PORT_NO_CAMERA_H_INCLUDED

#include "port.h"

int port_camera_can(uint32_t baud)
{
    (void)baud;
    return 0;
}

void port_camera_open(uint32_t baud, int hold)
{
    (void)baud;
    (void)hold;
}

void port_camera_close(void)
{
}

size_t port_camera_read(uint8_t *out, size_t capacity)
{
    (void)out;
    (void)capacity;
    return 0;
}

uint32_t port_camera_lost(void)
{
    return 0;
}

uint8_t port_camera_level(void)
{
    return 0;
}

size_t port_camera_write(const uint8_t *data, size_t n)
{
    (void)data;
    (void)n;
    return 0;
}

__attribute__((weak)) const uint8_t *port_ram_source(size_t *n)
{
    *n = 0;
    return NULL;
}

#endif
