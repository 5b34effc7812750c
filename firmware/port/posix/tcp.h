/* The link over TCP: one host at a time. */
#ifndef SP_PORT_TCP_H_INCLUDED
#define SP_PORT_TCP_H_INCLUDED

#include "port.h"

#include <stddef.h>
#include <stdint.h>

/* A host that has come and is not let in yet: what it has said. fd -1: there is none. */
typedef struct tcp_guest {
    int fd;
    size_t n;
    uint8_t said[256];
    uint8_t challenge[PORT_CHALLENGE_BYTES]; /* of its connection; where there is a key */
} tcp_guest_t;

/* Listen on "ADDRESS:PORT" (IPv4, numeric; port 0: any that is free). key: the file of the key that hosts have to show,
 * NULL for none, which only the loopback may do without. Prints where, as a line tcp://ADDRESS:PORT on stdout. Returns
 * the listening socket; ends the process with a sentence when it cannot be. */
int tcp_listen(const char *address, const char *key);

/* Take in who has come, in the place of a guest before. Never blocks. */
void tcp_accept(int listener, tcp_guest_t *guest);

/* Hear the guest out. host: the connection of the host that has the link, or -1. Returns 1 when the guest has it from
 * now on, and then the one before has been told and is closed; 0 when not, or not yet. Says on stderr who comes. */
int tcp_hear(tcp_guest_t *guest, int host);

#endif
