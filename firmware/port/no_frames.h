/* The frame port of a board that has none; included by its port. */
#ifndef SP_PORT_NO_FRAMES_H_INCLUDED
#define SP_PORT_NO_FRAMES_H_INCLUDED

#include "port.h"

int port_has_frames(void)
{
    return 0;
}

int port_frames_answers(void)
{
    return 0;
}

void port_frames_open(void)
{
}

void port_frames_close(void)
{
}

int port_frames_step(void)
{
    return 0;
}

size_t port_frames_read(uint8_t *out, size_t capacity)
{
    (void)out;
    (void)capacity;
    return 0;
}

port_frames_lost_t port_frames_lost(void)
{
    return (port_frames_lost_t){0, 0};
}

uint8_t port_frames_level(void)
{
    return 0;
}

#endif
