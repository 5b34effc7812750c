/* A process as a board. Without arguments, the board `sim`: behind a pseudo-terminal of its own, whose path it prints as
 * a line on stdout; it ends with its parent. With `--listen ADDRESS:PORT`, or where SP_PORT_LISTEN says so (the board
 * `jetson`), an agent that serves one host after the other over TCP until it is ended. */
#define _GNU_SOURCE

#include "port.h"
#include "tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#ifndef SP_PORT_MEMORY_BYTES
#define SP_PORT_MEMORY_BYTES (16u << 20)
#endif

static _Alignas(16) unsigned char memory[SP_PORT_MEMORY_BYTES];
static int link_fd = -1;
static int listener = -1; /* of TCP, else -1 */
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
    const char *address = SP_PORT_LISTEN;
    if (argc == 3 && strcmp(argv[1], "--listen") == 0) {
        address = argv[2];
    } else if (argc > 1) {
        fprintf(stderr, "usage: %s [--listen ADDRESS:PORT]\n", argv[0]);
        exit(2);
    }
    if (address != NULL) {
        signal(SIGPIPE, SIG_IGN); /* a host that goes is no reason to end */
        listener = tcp_listen(address);
        return;
    }
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    link_fd = open_terminal();
}

/* The host that came last has the link: the one before may have been cut off without a word. */
static void meet_host(void)
{
    const int fd = listener >= 0 ? tcp_accept(listener) : -1;
    if (fd >= 0) {
        if (link_fd >= 0) {
            close(link_fd);
        }
        link_fd = fd;
        write_blocked = 0;
    }
}

static void lose_host(void)
{
    if (listener >= 0 && link_fd >= 0) {
        fprintf(stderr, "the host is gone; waiting for the next one\n");
        close(link_fd);
        link_fd = -1;
        write_blocked = 0;
    }
}

const port_info_t *port_info(void)
{
    static const port_info_t info = {SP_BOARD_NAME, PORT_UNIT_NANOSECONDS};
    return &info;
}

size_t port_read(uint8_t *out, size_t capacity)
{
    const ssize_t n = read(link_fd, out, capacity);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        lose_host();
    }
    return n > 0 ? (size_t)n : 0;
}

size_t port_write(const uint8_t *data, size_t n)
{
    if (listener >= 0 && link_fd < 0) {
        return n; /* nobody is there to read it */
    }
    const ssize_t done = write(link_fd, data, n);
    const size_t taken = done > 0 ? (size_t)done : 0;
    write_blocked = taken < n;
    if (done < 0 && errno != EAGAIN && errno != EINTR) {
        lose_host();
    }
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
    struct pollfd wait[] = {{link_fd, write_blocked ? POLLOUT : POLLIN, 0}, {listener, POLLIN, 0}};
    poll(wait, sizeof wait / sizeof *wait, -1); /* negative descriptors are left out */
    if (wait[1].revents != 0) {
        meet_host();
    }
}
