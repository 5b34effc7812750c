/* Stands in for the camera port: no board has one yet. */
#include "camera.h"

int app_camera_start(uint8_t format, uint32_t baud)
{
    (void)format;
    (void)baud;
    return -1;
}

void app_camera_stop(void) {}

int app_camera_step(void) { return 0; }

size_t app_camera_take(uint8_t *out, size_t n)
{
    (void)out;
    (void)n;
    return 0;
}

uint8_t app_camera_level(void) { return 0; }

uint32_t app_camera_lost(void) { return 0; }

int app_has_camera(void) { return 0; }
