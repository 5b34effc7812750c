#include "app.h"
#include "host.h"
#include "port.h"

static app_t app;

int app_admits(const uint8_t *first, size_t n, int occupied)
{
    return app_meet(&app, first, n, occupied);
}

int app_greets(const uint8_t *first, size_t n)
{
    return app_is_hello(first, n);
}

int main(int argc, char **argv)
{
    static const uint8_t end_of_frame = 0; /* of one that a reset cut; it also says that we listen */
    port_init(argc, argv);
    app_init(&app);
    port_write(&end_of_frame, 1);
    for (;;)
        if (!app_step(&app))
            port_idle();
}
