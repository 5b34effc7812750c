#define _GNU_SOURCE

#include "tcp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A host that was switched off, or its network, is noticed after 2 s: it is asked (its system answers, however busy it
 * is) after so many seconds of silence and as often, and what it was sent or asked goes unanswered for so many
 * milliseconds. One that was only away for longer connects again, and its session goes on. */
enum { ASK_AFTER = 1, ASK_EVERY = 1, UNANSWERED_MS = 1800 };

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

int tcp_listen(const char *address)
{
    struct sockaddr_in at = parse(address);
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

int tcp_accept(int listener)
{
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    const int fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -1;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, ASK_AFTER);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, ASK_EVERY);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS);
    fprintf(stderr, "a host has come from %s\n", inet_ntoa(from.sin_addr));
    return fd;
}
