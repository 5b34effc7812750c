/* The link over TCP: one host at a time, the last to come. */
#ifndef SP_PORT_TCP_H_INCLUDED
#define SP_PORT_TCP_H_INCLUDED

/* Listen on "ADDRESS:PORT" (IPv4, numeric; port 0: any that is free). Prints where, as a line
 * tcp://ADDRESS:PORT on stdout. Returns the listening socket; ends the process with a sentence when it cannot be. */
int tcp_listen(const char *address);

/* The connection of a host that has come, else -1. Never blocks. Says on stderr who came. */
int tcp_accept(int listener);

#endif
