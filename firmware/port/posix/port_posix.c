/* The board `sim`: a native process behind a pseudo-terminal of its own.
 * It prints the terminal's path as one line on stdout and then serves until it is ended, or its parent dies. */
#define _GNU_SOURCE

#include "port.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#ifndef SP_BOARD_NAME
#define SP_BOARD_NAME "sim"
#endif
#ifndef SP_PORT_MEMORY_BYTES
#define SP_PORT_MEMORY_BYTES (16u << 20)
#endif

static _Alignas(16) unsigned char memory[SP_PORT_MEMORY_BYTES];
static int link_fd;
static int write_blocked;

static void die(const char *what)
{
    perror(what);
    exit(3);
}

/* The slave stays open here, too: the host may close and open it again, and no byte is lost between. */
static int open_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
        die("cannot make a pseudo-terminal");
    }
    const char *path = ptsname(master);
    int slave = path != NULL ? open(path, O_RDWR | O_NOCTTY) : -1;
    struct termios settings;
    if (slave < 0 || tcgetattr(slave, &settings) < 0) {
        die("cannot open the pseudo-terminal");
    }
    cfmakeraw(&settings);
    if (tcsetattr(slave, TCSANOW, &settings) < 0 || fcntl(master, F_SETFL, O_NONBLOCK) < 0) {
        die("cannot set up the pseudo-terminal");
    }
    printf("%s\n", path);
    fflush(stdout);
    return master;
}

void port_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    link_fd = open_terminal();
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_NANOSECONDS};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    ssize_t n = read(link_fd, out, capacity);
    return n > 0 ? (size_t)n : 0;
}

size_t port_write(const uint8_t *data, size_t n)
{
    ssize_t done = write(link_fd, data, n);
    size_t taken = done > 0 ? (size_t)done : 0;
    write_blocked = taken < n;
    return taken;
}

uint64_t port_counter(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *port_memory(size_t *size)
{
    *size = sizeof memory;
    return memory;
}

void port_idle(void)
{
    struct pollfd wait = {link_fd, write_blocked ? POLLOUT : POLLIN, 0};
    poll(&wait, 1, -1);
}
