/* A board that has no number of its own, cannot start itself anew, and does not know why it was; included by its port. */
#ifndef SP_PORT_NO_REBOOT_H_INCLUDED
#define SP_PORT_NO_REBOOT_H_INCLUDED

#include "port.h"

size_t port_unique_id(uint8_t *out, size_t capacity)
{
    (void)out;
    (void)capacity;
    return 0;
}

port_end_t port_last_end(void)
{
    return (port_end_t){0};
}

int port_can_reboot(uint8_t to)
{
    (void)to;
    return 0;
}

void port_reboot(uint8_t to)
{
    (void)to;
}

#endif
