#include "app.h"

#include "commands.h"
#include "port.h"
#include "stream.h"

#include <string.h>

void app_init(app_t *app)
{
    memset(app, 0, sizeof *app);
    app_link_init(&app->link);
}

int app_step(app_t *app)
{
    int busy = 0;
    if (!app_link_send(&app->link)) {
        sp_frame_t request;
        if (app_push_result(app)) {
            busy = 1;
        } else if (app_link_receive(&app->link, &request, &busy)) {
            app_command(app, &request);
            busy = 1;
        }
        app_link_send(&app->link);
    }
    if (app->reboots && !app_link_is_busy(&app->link)) {
        app->reboots = 0;
        port_reboot(app->reboot_to);
    }
    return app_stream_step(app) || busy;
}
