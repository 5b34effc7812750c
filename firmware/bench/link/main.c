/* The raw byte stream of a board's link, to compare the protocol's with: `spedge bench link` sends a u32 (little-endian)
 * and so many bytes; they are read and forgotten, and then the u32 comes back. And again. */
#include "port.h"

#include "link.h" /* SP_APP_CHUNK_BYTES */
#include "spedge/wire.h"

static uint8_t chunk[SP_APP_CHUNK_BYTES];

static void send(const uint8_t *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        const size_t written = port_write(data + done, n - done);
        done += written;
        if (written == 0)
            port_idle();
    }
}

static size_t receive(size_t most)
{
    for (;;) {
        const size_t got = port_read(chunk, most < sizeof chunk ? most : sizeof chunk);
        if (got > 0)
            return got;
        port_idle();
    }
}

void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b)
{
    (void)text;
    (void)detail_a;
    (void)detail_b;
    for (;;)
        port_idle();
}

int main(int argc, char **argv)
{
    port_init(argc, argv);
    for (;;) {
        uint8_t count[4];
        for (size_t got = 0; got < sizeof count; got++) {
            receive(1);
            count[got] = chunk[0];
        }
        for (size_t left = sp_get_u32(count); left > 0;)
            left -= receive(left);
        send(count, sizeof count);
    }
}
