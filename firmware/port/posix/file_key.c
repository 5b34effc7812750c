#define _GNU_SOURCE

#include "file_key.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEAST_BYTES = 16 };

static void refuse(const char *path, const char *why)
{
    fprintf(stderr, "%s is no key: %s\n", path, why);
    exit(2);
}

void key_read(file_key_t *key, const char *path)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) {
        perror(path);
        exit(2);
    }
    if (!S_ISREG(status.st_mode))
        refuse(path, "it is no file");
    if ((status.st_mode & 077) != 0)
        refuse(path, "others may read it, so make another one, and keep it from them with chmod 600");
    if (status.st_size > (off_t)sizeof key->bytes)
        refuse(path, "it has more than 1024 bytes");
    const ssize_t n = read(fd, key->bytes, sizeof key->bytes);
    close(fd);
    key->n = n > 0 ? (size_t)n : 0;
    while (key->n > 0 && (key->bytes[key->n - 1] == '\n' || key->bytes[key->n - 1] == '\r'))
        key->n--;
    if (key->n < LEAST_BYTES)
        refuse(path, "it has fewer than 16 bytes, and could be guessed");
}
