/* The camera port, and the frame port: a second stream of raw words, into the application without the host. */
#ifndef SP_APP_CAMERA_H_INCLUDED
#define SP_APP_CAMERA_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

/* How full the receiver may be, of 255, before something is left out. */
#define APP_CAMERA_CROWDED 64u

/* Whether this board has a camera port that can run at that rate; 0: at the board's own. */
int app_camera_can(uint32_t baud);

/* Open the port at a rate that it can and, for an eDVS format (SPEC.md: 16 and above), send the camera its commands.
 * hold: what comes while there is no room for it waits in the line (1), or is dropped and counted (0). May be called
 * again: everything begins anew. */
void app_camera_start(uint8_t format, uint32_t baud, int hold);

/* The same of the frame port, whose sensor waits for nobody. */
void app_camera_start_frames(void);

/* Tell an eDVS to stop; receive nothing more. */
void app_camera_stop(void);

/* Turn of the main loop: commands that still wait to be written, the camera's greeting that is waited for. Returns 0
 * when there was nothing to do. */
int app_camera_step(void);

/* Whole words that have arrived, at most n bytes, into out; returns how many bytes. eDVS format 1 may be cut anywhere.
 * Around lost bytes the word that they cut is left out, too. n is at least 8. */
size_t app_camera_take(uint8_t *out, size_t n);

/* How full the receiver is, 0 to 255, for thinning; the bytes it has lost since the start, with those that were given up
 * to find the next word; and the events in packets of the frame port that were given up. */
uint8_t app_camera_level(void);
uint64_t app_camera_lost(void);
uint64_t app_camera_lost_events(void);

#endif
