/* An image without events in RAM. One that has them defines its own. */
#include "port.h"

__attribute__((weak)) const uint8_t *port_ram_source(size_t *n)
{
    *n = 0;
    return NULL;
}
