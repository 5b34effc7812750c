#include "app.h"
#include "port.h"

static app_t app;

int main(int argc, char **argv)
{
    port_init(argc, argv);
    app_init(&app);
    for (;;) {
        if (!app_step(&app)) {
            port_idle();
        }
    }
}
