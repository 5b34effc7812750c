/* A camera port for tests of app/camera.c on the host: the ring of port/ring.h, filled from outside. */
#include "no_frames.h"
#include "port.h"
#include "ring.h"

#include <string.h>

static volatile uint8_t bytes[64];
static port_ring_t ring;
static uint8_t said[256];
static size_t said_bytes;
static uint64_t now;
static int write_most = 3;

void fake_put(const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        port_ring_put(&ring, data[i]);
}

void fake_overrun(void)
{
    port_ring_overrun(&ring);
}
void fake_pass_time(uint64_t counts)
{
    now += counts;
}

size_t fake_said(uint8_t *out)
{
    size_t n = said_bytes;
    memcpy(out, said, n);
    said_bytes = 0;
    return n;
}

uint64_t port_counter(void)
{
    return now;
}
int port_camera_can(uint32_t baud)
{
    return baud <= 4000000u;
}
void port_camera_close(void)
{
}
size_t port_camera_read(uint8_t *out, size_t capacity)
{
    return port_ring_take(&ring, out, capacity);
}
uint32_t port_camera_lost(void)
{
    return port_ring_lost(&ring);
}
uint8_t port_camera_level(void)
{
    return port_ring_level(&ring);
}

void port_camera_open(uint32_t baud, int hold)
{
    (void)baud;
    (void)hold;
    port_ring_init(&ring, bytes, sizeof bytes);
}

size_t port_camera_write(const uint8_t *data, size_t n)
{
    n = n < (size_t)write_most ? n : (size_t)write_most;
    memcpy(said + said_bytes, data, n);
    said_bytes += n;
    return n;
}
