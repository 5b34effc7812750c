#define _GNU_SOURCE

#include "tcp.h"

#include "file_key.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* A host that was switched off, or its network, is noticed after 2 s: it is asked (its system answers, however busy it
 * is) after so many seconds of silence and as often, and what it was sent or asked goes unanswered for so many
 * milliseconds. One that was only away for longer connects again, and its session goes on. */
enum { ASK_AFTER = 1, ASK_EVERY = 1, UNANSWERED_MS = 1800 };

enum { PIECES = 1024 }; /* most that is heard of a guest at once */

static file_key_t key;

static void die(const char *address)
{
    fprintf(stderr, "cannot listen on %s: ", address);
    perror(NULL);
    exit(3);
}

static struct sockaddr_in parse(const char *text)
{
    char host[INET_ADDRSTRLEN];
    struct sockaddr_in at;
    memset(&at, 0, sizeof at);
    const char *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : sizeof host;
    char *end = NULL;
    const unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
    if (n < sizeof host) {
        memcpy(host, text, n);
        host[n] = 0;
    }
    if (n >= sizeof host || inet_pton(AF_INET, host, &at.sin_addr) != 1 || end == colon + 1 || *end != 0 ||
        port > 65535) {
        fprintf(stderr, "%s is no address to listen on: give it as 127.0.0.1:7343, or 0.0.0.0:7343 for all networks\n",
                text);
        exit(2);
    }
    at.sin_family = AF_INET;
    at.sin_port = htons((uint16_t)port);
    return at;
}

static int is_loopback(const struct sockaddr_in *at)
{
    return ntohl(at->sin_addr.s_addr) >> 24 == 127;
}

int tcp_listen(const char *address, const char *key_file)
{
    struct sockaddr_in at = parse(address);
    if (key_file != NULL) {
        key_read(&key, key_file);
    } else if (!is_loopback(&at)) {
        fprintf(stderr,
                "%s can be reached by others, who would need no key: give one with --key FILE, or listen on "
                "127.0.0.1 and come by ssh\n",
                address);
        exit(2);
    }
    socklen_t size = sizeof at;
    const int on = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0) {
        die(address);
    }
    printf("tcp://%s:%u\n", inet_ntoa(at.sin_addr), (unsigned)ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void set(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) < 0)
        perror("setsockopt"); /* only slower */
}

void tcp_accept(int listener, tcp_guest_t *guest)
{
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (guest->fd >= 0)
        close(guest->fd);
    guest->fd = -1;
    if (key.n > 0 && getrandom(guest->challenge, sizeof guest->challenge, 0) != sizeof guest->challenge) {
        perror("getrandom");
        close(fd);
        return;
    }
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, ASK_AFTER);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, ASK_EVERY);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS);
    guest->fd = fd;
    guest->n = 0;
}

/* Whether the other end has closed, whatever of it is still to be read. */
static int is_gone(int fd)
{
    struct pollfd look = {fd, POLLRDHUP, 0};
    return poll(&look, 1, 0) > 0;
}

/* What waits to be read is read away: with it, closing would take back what was said last. */
static void close_saying(int fd, const uint8_t *last, size_t n)
{
    uint8_t bytes[4096];
    int most = PIECES; /* another may come all the time */
    if (send(fd, last, n, MSG_NOSIGNAL) == (ssize_t)n) {
        shutdown(fd, SHUT_WR);
        while (most-- > 0 && read(fd, bytes, sizeof bytes) > 0)
            ;
    }
    close(fd);
}

static void dismiss(int fd)
{
    uint8_t bytes[96];
    close_saying(fd, bytes, app_farewell(bytes, sizeof bytes));
}

static void say(int fd, const char *what)
{
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    const int known = getpeername(fd, (struct sockaddr *)&from, &size) == 0;
    fprintf(stderr, "a host has come from %s%s\n", known ? inet_ntoa(from.sin_addr) : "somewhere", what);
}

/* Whether the guest has shown the key, if one is asked for. Closes its connection when that is another one. */
static int has_key(tcp_guest_t *guest)
{
    while (key.n > 0) {
        uint8_t out[96];
        size_t n = sizeof out;
        const int shown = app_knows(key.bytes, key.n, guest->challenge, guest->said, &guest->n, out, &n);
        if (shown == PORT_KEY_SHOWN)
            break;
        if (shown == PORT_KEY_WRONG) {
            say(guest->fd, " with another key");
            close_saying(guest->fd, out, n);
            guest->fd = -1;
            return 0;
        }
        if (shown == PORT_KEY_UNSAID) {
            guest->n = guest->n < sizeof guest->said ? guest->n : 0; /* noise, or too long for who is not known */
            return 0;
        }
        if (send(guest->fd, out, n, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            perror("send"); /* it asks again */
    }
    return 1;
}

/* Whether the guest, of whom as much is known as there is to know, gets the link. */
static int admit(tcp_guest_t *guest, int host)
{
    const int there = host >= 0 && !is_gone(host);
    const int admitted = app_admits(guest->said, guest->n, there);
    if (admitted < 0) {
        guest->n = guest->n < sizeof guest->said ? guest->n : 0; /* noise */
        return 0;
    }
    say(guest->fd, !there ? "" : admitted ? " in the place of another" : " and found another here");
    if (admitted && host >= 0) {
        dismiss(host);
    } else if (!admitted) {
        dismiss(guest->fd);
        guest->fd = -1;
    }
    return admitted;
}

int tcp_hear(tcp_guest_t *guest, int host)
{
    for (int i = 0; i < PIECES && guest->fd >= 0; i++) {
        const ssize_t n = read(guest->fd, guest->said + guest->n, sizeof guest->said - guest->n);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) {
            close(guest->fd);
            guest->fd = -1;
            break;
        }
        guest->n += (size_t)n;
        if (has_key(guest) && admit(guest, host))
            return 1;
    }
    return 0;
}
