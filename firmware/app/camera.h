/* The camera port: a second byte stream of raw words, into the application without the host. */
#ifndef SP_APP_CAMERA_H_INCLUDED
#define SP_APP_CAMERA_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

/* Open the port (baud 0: the board's own) and, for an eDVS format (SPEC.md: 16 and above), send the camera its commands.
 * Returns 0, or -1 where the board has no camera port. May be called again. */
int app_camera_start(uint8_t format, uint32_t baud);

/* Tell an eDVS to stop; forget what has arrived. */
void app_camera_stop(void);

/* Turn of the main loop: commands that still wait to be written. Returns 0 when there was nothing to do. */
int app_camera_step(void);

/* Bytes that have arrived, at most n, into out; returns how many. */
size_t app_camera_take(uint8_t *out, size_t n);

/* How full the receiver is, 0 to 255, for thinning; and the bytes it has lost since the start. */
uint8_t app_camera_level(void);
uint32_t app_camera_lost(void);

/* Whether this board has a camera port. */
int app_has_camera(void);

#endif
