/* The image of a process is the file that it was started from. */
#define _GNU_SOURCE

#include "program.h"

#include "port.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SELF "/proc/self/exe"

static char **arguments;

void program_init(char **argv)
{
    arguments = argv;
}

void program_restart(void)
{
    for (int fd = 3; fd < 256; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    execv(SELF, arguments);
}

/* Mapped once. A program that was replaced on disk is still the one that runs: /proc leads to it. */
port_image_t port_image(void)
{
    static port_image_t image;
    struct stat status;
    const int fd = image.bytes == NULL ? open(SELF, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0) {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED)
            image = (port_image_t){map, (size_t)status.st_size, NULL, 0};
    }
    if (fd >= 0)
        close(fd);
    return image;
}

/* A file that the system has for it, where there is one: the serial number of the module. */
port_end_t port_last_end(void)
{
    return (port_end_t){0};
}

size_t port_unique_id(uint8_t *out, size_t capacity)
{
    const int fd = open("/proc/device-tree/serial-number", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, out, capacity) : 0;
    if (fd >= 0)
        close(fd);
    return n > 0 ? (size_t)n - (out[n - 1] == 0) : 0;
}
