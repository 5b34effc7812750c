/* A process as a board. Without arguments, the board `sim`: behind a pseudo-terminal of its own; it ends with its
 * parent. With `--listen ADDRESS:PORT`, or where SP_PORT_LISTEN says so (the board `jetson`), an agent that serves one
 * host after the other over TCP until it is ended; with `--key FILE` only those that have the key. `--threads N`: its model
 * computes on so many, by the vector instructions that SPEDGE_VECTORS names (kernel_rows.h), else by the best.
 * It prints where its link and its camera port are, as two lines on stdout. The camera port is a pseudo-terminal and never
 * loses a byte: it makes the camera wait. A file named as the last argument is the RAM source. */
#define _GNU_SOURCE

#include "no_frames.h"
#include "port.h"
#include "program.h"
#include "tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "sim"
#endif
#ifndef SP_PORT_LISTEN
#define SP_PORT_LISTEN NULL
#endif
#define TERMINAL_BYTES 4095 /* that Linux keeps for a reader */
#define THREADS 64          /* of a compiled model, at most */
#define GUESTS 4            /* hosts that have come and not spoken yet; another one takes the place of the oldest */
#define LOOK_NS 20000000u   /* between two looks for hosts while there is no time to sleep */
#ifndef SP_PORT_MEMORY_BYTES
#define SP_PORT_MEMORY_BYTES (128u << 20) /* the system gives what is used */
#endif

static _Alignas(16) unsigned char memory[SP_PORT_MEMORY_BYTES];
static int link_fd = -1;
static int listener = -1; /* of TCP, else -1 */
static tcp_guest_t guests[GUESTS];
static unsigned oldest_guest;
static uint8_t early[sizeof guests[0].said]; /* that the host said before it was let in */
static size_t early_used, early_filled;
static uint64_t looked_at; /* for hosts, when */
static int write_blocked;
static int camera_fd;
static int camera_is_open;
static int camera_was_read; /* since the last sleep */
static const uint8_t *ram_source;
static size_t ram_source_bytes;

static void die(const char *what)
{
    perror(what);
    exit(3);
}

/* The slave stays open here, too: the host may close and open it again, and no byte is lost between. */
static int open_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        die("cannot make a pseudo-terminal");
    const char *path = ptsname(master);
    int slave = path != NULL ? open(path, O_RDWR | O_NOCTTY) : -1;
    struct termios settings;
    if (slave < 0 || tcgetattr(slave, &settings) < 0)
        die("cannot open the pseudo-terminal");
    cfmakeraw(&settings);
    if (tcsetattr(slave, TCSANOW, &settings) < 0 || fcntl(master, F_SETFL, O_NONBLOCK) < 0)
        die("cannot set up the pseudo-terminal");
    printf("%s\n", path);
    return master;
}

static void map_ram_source(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &status) < 0)
        die(path);
    if (status.st_size > 0) {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            die(path);
        ram_source = map;
        ram_source_bytes = (size_t)status.st_size;
    }
    close(fd);
}

static void end_with_parent(void)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

/* Ends the process with a sentence when it cannot be. */
static void compute_on(const char *threads)
{
    char *end;
    const unsigned long n = strtoul(threads, &end, 10);
    const char *const named = getenv("SPEDGE_VECTORS"), *const vectors = named != NULL && *named != '\0' ? named : NULL;
    if (*threads == '\0' || *end != '\0' || n < 1 || n > THREADS) {
        fprintf(stderr, "--threads takes a number from 1 to %d, not %s\n", THREADS, threads);
        exit(2);
    }
    if (app_compute((uint32_t)n, vectors) < 0) {
        fprintf(stderr, "this machine cannot compute on %lu threads%s%s\n", n, vectors != NULL ? " by " : "",
                vectors != NULL ? vectors : "");
        exit(2);
    }
}

void port_init(int argc, char **argv)
{
    const char *address = SP_PORT_LISTEN;
    const char *key = NULL, *threads = "1";
    int next = 1;
    program_init(argv);
    for (int i = 0; i < GUESTS; i++)
        guests[i].fd = -1;
    for (; next + 1 < argc; next += 2)
        if (strcmp(argv[next], "--listen") == 0)
            address = argv[next + 1];
        else if (strcmp(argv[next], "--key") == 0)
            key = argv[next + 1];
        else if (strcmp(argv[next], "--threads") == 0)
            threads = argv[next + 1];
        else
            break;
    if (argc > next + 1 || (argc > next && argv[next][0] == '-') || (key != NULL && address == NULL)) {
        fprintf(stderr, "usage: %s [--threads N] [--listen ADDRESS:PORT [--key FILE]] [FILE]\n", argv[0]);
        exit(2);
    }
    compute_on(threads);
    if (argc > next)
        map_ram_source(argv[next]);
    if (address != NULL) {
        signal(SIGPIPE, SIG_IGN); /* a host that goes is no reason to end */
        listener = tcp_listen(address, key);
    } else {
        end_with_parent();
        link_fd = open_terminal();
    }
    camera_fd = open_terminal();
    fflush(stdout);
}

/* Programs that speak no frames take whoever comes; the application has rules. */
__attribute__((weak)) int app_admits(const uint8_t *first, size_t n, int occupied)
{
    (void)first;
    (void)n;
    (void)occupied;
    return 1;
}

__attribute__((weak)) int app_knows(const uint8_t *key, size_t key_bytes, const uint8_t *challenge, uint8_t *said,
                                    size_t *n, uint8_t *out, size_t *out_bytes)
{
    (void)key;
    (void)key_bytes;
    (void)challenge;
    (void)said;
    (void)n;
    (void)out;
    *out_bytes = 0;
    return PORT_KEY_WRONG; /* they cannot ask for a key */
}

__attribute__((weak)) size_t app_farewell(uint8_t *out, size_t capacity)
{
    (void)out;
    (void)capacity;
    return 0;
}

__attribute__((weak)) int app_compute(uint32_t threads, const char *vectors)
{
    (void)threads;
    (void)vectors;
    return 0; /* they have no model */
}

static void hear(tcp_guest_t *guest)
{
    if (guest->fd >= 0 && tcp_hear(guest, link_fd)) {
        link_fd = guest->fd;
        write_blocked = 0;
        early_used = 0;
        early_filled = guest->n;
        memcpy(early, guest->said, guest->n);
        guest->fd = -1;
    }
}

static tcp_guest_t *place_for_a_guest(void)
{
    for (int i = 0; i < GUESTS; i++)
        if (guests[i].fd < 0)
            return &guests[i];
    return &guests[oldest_guest++ % GUESTS];
}

/* What to wait for, to see who comes: 1 + GUESTS entries. */
static void watch_for_hosts(struct pollfd *wait)
{
    wait[0] = (struct pollfd){listener, POLLIN, 0};
    for (int i = 0; i < GUESTS; i++)
        wait[1 + i] = (struct pollfd){guests[i].fd, POLLIN, 0};
}

/* Who has come. Not from port_write: the application is then at the bytes that another host may not be given. */
static void receive_hosts(const struct pollfd *seen)
{
    for (int i = 0; i < GUESTS; i++)
        if (seen[1 + i].revents != 0)
            hear(&guests[i]);
    if (seen[0].revents != 0) {
        tcp_guest_t *guest = place_for_a_guest();
        tcp_accept(listener, guest);
        hear(guest);
    }
}

/* While there is always something to do, nobody sleeps and sees who comes. */
static void look_for_hosts(void)
{
    const uint64_t now = listener >= 0 ? port_counter() : 0;
    if (now - looked_at < LOOK_NS)
        return;
    looked_at = now;
    struct pollfd look[1 + GUESTS];
    watch_for_hosts(look);
    if (poll(look, sizeof look / sizeof *look, 0) > 0)
        receive_hosts(look);
}

static void lose_host(void)
{
    if (listener >= 0 && link_fd >= 0) {
        fprintf(stderr, "the host is gone; waiting for the next one\n");
        close(link_fd);
        link_fd = -1;
        write_blocked = 0;
        early_used = early_filled = 0;
    }
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_NANOSECONDS};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    look_for_hosts();
    if (early_used < early_filled) {
        const size_t left = early_filled - early_used, taken = left < capacity ? left : capacity;
        memcpy(out, early + early_used, taken);
        early_used += taken;
        return taken;
    }
    const ssize_t n = read(link_fd, out, capacity);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        lose_host();
    return n > 0 ? (size_t)n : 0;
}

size_t port_write(const uint8_t *data, size_t n)
{
    if (listener >= 0 && link_fd < 0)
        return n; /* nobody is there to read it */
    const ssize_t done = write(link_fd, data, n);
    const size_t taken = done > 0 ? (size_t)done : 0;
    write_blocked = taken < n;
    if (done < 0 && errno != EAGAIN && errno != EINTR)
        lose_host();
    return taken;
}

uint64_t port_counter(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *port_memory(port_memory_kind_t kind, size_t *size)
{
    *size = kind == PORT_MEMORY_BULK ? sizeof memory : 0;
    return memory;
}

/* An agent: a board that was started for one host ends with it. */
int port_can_reboot(uint8_t to)
{
    return to == 0 && listener >= 0;
}

void port_reboot(uint8_t to)
{
    if (port_can_reboot(to))
        program_restart();
}

/* ---- camera port -------------------------------------------------------------------------------------------- */

int port_camera_can(uint32_t baud)
{
    (void)baud;
    return 1;
}

void port_camera_open(uint32_t baud, int hold)
{
    uint8_t old[256];
    (void)baud;
    (void)hold;
    while (read(camera_fd, old, sizeof old) > 0) {
    }
    camera_is_open = 1;
}

void port_camera_close(void)
{
    camera_is_open = 0;
}

size_t port_camera_read(uint8_t *out, size_t capacity)
{
    ssize_t n = camera_is_open ? read(camera_fd, out, capacity) : 0;
    camera_was_read = 1;
    look_for_hosts(); /* the link may be blocked */
    return n > 0 ? (size_t)n : 0;
}

uint32_t port_camera_lost(void)
{
    return 0;
}

uint8_t port_camera_level(void)
{
    int waiting = 0;
    if (!camera_is_open || ioctl(camera_fd, FIONREAD, &waiting) < 0 || waiting < 0)
        return 0;
    return (uint8_t)(waiting < TERMINAL_BYTES ? waiting * 255 / TERMINAL_BYTES : 255);
}

size_t port_camera_write(const uint8_t *data, size_t n)
{
    ssize_t done = write(camera_fd, data, n);
    return done > 0 ? (size_t)done : 0;
}

__attribute__((weak)) const uint8_t *port_ram_source(size_t *n)
{
    *n = ram_source_bytes;
    return ram_source;
}

/* The camera wakes only a reader: bytes that the application leaves where they are must not keep it busy. */
void port_idle(void)
{
    struct pollfd wait[2 + 1 + GUESTS] = {
        {link_fd, write_blocked ? POLLOUT : POLLIN, 0},
        {camera_is_open && camera_was_read ? camera_fd : -1, POLLIN, 0},
    };
    watch_for_hosts(&wait[2]);
    camera_was_read = 0;
    if (poll(wait, sizeof wait / sizeof *wait, -1) > 0) /* negative descriptors are left out */
        receive_hosts(&wait[2]);
}
