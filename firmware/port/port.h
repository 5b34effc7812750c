/* What the application needs of a board: the whole porting surface.
 * Everything is called from the main loop only; nothing here may block but port_idle. */
#ifndef SP_PORT_H_INCLUDED
#define SP_PORT_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What port_counter counts; the numbers are on the wire (SPEC.md). */
enum { PORT_UNIT_NONE = 0, PORT_UNIT_INSTRUCTIONS = 1, PORT_UNIT_NANOSECONDS = 2, PORT_UNIT_CYCLES = 3 };

typedef struct port_info {
    const char *board; /* as in the board's manifest */
    uint8_t counter_unit;
} port_info_t;

/* Called once, first. Clocks, FPU, link, counter. argc and argv are those of main; 0 and NULL on bare metal. */
void port_init(int argc, char **argv);

const port_info_t *port_info(void);

/* Copy bytes that have arrived from the host to out; returns how many, 0 when there are none.
 * A byte that was lost on the way (an overrun) needs no report: the frame's CRC catches it. */
size_t port_read(uint8_t *out, size_t capacity);

/* Hand bytes to the host; returns how many were taken, 0 when there is no room now. */
size_t port_write(const uint8_t *data, size_t n);

/* A counter that never goes back, in the unit of port_info. */
uint64_t port_counter(void);

/* Blocks of memory, 16-byte aligned, the same at every call: for the model's arena, where it fits (FAST; none, of 0 bytes,
 * where no memory is faster than the rest); for pools, reports and what does not fit there (BULK); for the port's own
 * receivers (DMA: which a DMA reaches and no cache holds; 0 bytes without one). They do not overlap. */
typedef enum port_memory_kind { PORT_MEMORY_FAST, PORT_MEMORY_BULK, PORT_MEMORY_DMA } port_memory_kind_t;

void *port_memory(port_memory_kind_t kind, size_t *size);

/* The program as it lies in the device's memory, from its first byte to the last of its initial values. n 0: it cannot
 * be read. build_id: by which the linker tells it from others; none: 0 bytes. */
typedef struct port_image {
    const uint8_t *bytes;
    size_t n;
    const uint8_t *build_id;
    size_t build_id_bytes;
} port_image_t;

port_image_t port_image(void);

/* The number that no other chip of the kind has. Returns its bytes, 0 when there is none. */
size_t port_unique_id(uint8_t *out, size_t capacity);

/* Why the firmware ended before this start: it was told to, or lost its power; the core took a fault (at: the program
 * counter, 0 if it is not known; detail: what the core says of it); it hung, and the watchdog reset the chip. The numbers
 * are on the wire. */
enum { PORT_END_NONE = 0, PORT_END_FAULT = 1, PORT_END_WATCHDOG = 2 };

typedef struct port_end {
    uint8_t why;
    uint32_t at, detail;
} port_end_t;

port_end_t port_last_end(void);

/* Start the firmware (0) anew, or the chip's bootloader (1): whether that can be, and do it; the numbers are on the wire.
 * What was written to the link goes out before. Returns where it fails. */
int port_can_reboot(uint8_t to);
void port_reboot(uint8_t to);

/* ---- the camera port: a second line, whose bytes are a camera's. A board without one: no_camera.h ------------- */

/* Whether there is a camera port that can run at that rate, to 2 %; 0: at its own. */
int port_camera_can(uint32_t baud);

/* Begin to receive, or begin anew: what has arrived is forgotten, and nothing is lost yet. baud: one that it can.
 * hold: what to do while the receiver's memory is full: 1 leave the line to its flow control, 0 read on, drop and
 * count. */
void port_camera_open(uint32_t baud, int hold);

/* Stop receiving: a camera that goes on sending costs nothing. */
void port_camera_close(void);

/* Copy bytes of the camera that have arrived to out; returns how many. Stops before a place where bytes were lost,
 * and goes on behind it once port_camera_lost has been asked. */
size_t port_camera_read(uint8_t *out, size_t capacity);

/* Bytes lost since the port was opened, in front of the next byte to be read. What the hardware itself overran counts
 * as one byte each time: how many they were, it does not say. */
uint32_t port_camera_lost(void);

/* How full the receiver's memory is: 0 empty, 255 full. */
uint8_t port_camera_level(void);

/* Hand bytes to the camera; returns how many were taken. Does not wait and wakes nobody: call again. */
size_t port_camera_write(const uint8_t *data, size_t n);

/* ---- the frame port: a sensor whose EVT2 words come in frames of packets, by DMA. A board without one: no_frames.h - */

int port_has_frames(void);

/* Whether a sensor is there, which is asked for what it is: less than a millisecond. */
int port_frames_answers(void);

/* Set the sensor up and receive, or begin anew: what has arrived is forgotten, and nothing is lost yet. The sensor is
 * never held up: packets that find no room are given up and counted. */
void port_frames_open(void);
void port_frames_close(void);

/* A piece of what port_frames_open has begun: to be called in every turn of the main loop. Returns 0 when nothing is left. */
int port_frames_step(void);

/* Copy words that have arrived to out, padding among them: whole ones, at most `capacity` bytes; returns how many bytes.
 * Stops before a place where some were lost, and goes on behind it once port_frames_lost has been asked: with the last
 * time word that was lost there. */
size_t port_frames_read(uint8_t *out, size_t capacity);

/* Lost since the port was opened, in front of the next word to be read. events: in packets that were given up; bytes:
 * what the receiver itself overran, of which nobody knows what it held. */
typedef struct port_frames_lost {
    uint64_t events, bytes;
} port_frames_lost_t;

port_frames_lost_t port_frames_lost(void);

/* How full the memory for packets is: 0 empty, 255 full. */
uint8_t port_frames_level(void);

/* Camera bytes in memory, as a DMA would have put them there; NULL: none. The same at every call. Weak in the ports: an
 * image may bring bytes of its own. */
const uint8_t *port_ram_source(size_t *n);

/* Nothing to do: sleep until bytes arrive, from the host or at an open camera or frame port, or there is room to write again
 * after port_write took less than it was given. May return early, and may do nothing. */
void port_idle(void);

/* For ports to which a host can come while another one is there: whether it gets the link, by the first n bytes that it
 * has sent. occupied: another one has it. 1: yes, and port_read gives these bytes to begin with; 0: no; -1: it has to
 * say more. Not to be called from port_write. */
int app_admits(const uint8_t *first, size_t n, int occupied);

/* For ports with more than one line: whether a HELLO is the first frame in the first n bytes that came on one. 1: yes; 0: no;
 * -1: there is none yet. */
int app_greets(const uint8_t *first, size_t n);

/* For ports that others can reach, too: whether a host has shown the key, by the first *n bytes that it has sent (at most
 * 256). challenge: random bytes of its connection alone. Looks at one frame. UNSAID: none is whole yet. SHOWN: the one
 * that begins `said` shows it, and stays there. ASKED, WRONG: a frame was taken away from `said`, and *out_bytes of `out`
 * (it holds so many, at least 96) are to be sent to it; after WRONG the connection ends. */
#define PORT_CHALLENGE_BYTES 16u
enum { PORT_KEY_UNSAID = 0, PORT_KEY_SHOWN = 1, PORT_KEY_ASKED = 2, PORT_KEY_WRONG = 3 };
int app_knows(const uint8_t *key, size_t key_bytes, const uint8_t *challenge, uint8_t *said, size_t *n, uint8_t *out,
              size_t *out_bytes);

/* What a host is told that does not get the link, or loses it to another: returns its bytes, at most 96. */
size_t app_farewell(uint8_t *out, size_t capacity);

/* From port_init, where the port is told: compute on so many threads, by the vector instructions of that name, NULL for the
 * best that there are; a model that takes one thread alone takes one. Returns a code of libspedge. */
int app_compute(uint32_t threads, const char *vectors);

/* For ports: say over the link, as an ERROR frame nobody asked for, that the device has failed, and stop. */
void app_panic(const char *text, uint32_t detail_a, uint32_t detail_b);

#ifdef __cplusplus
}
#endif
#endif
