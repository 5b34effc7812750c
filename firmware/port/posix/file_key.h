/* The key that hosts have to show: a file that both ends have. */
#ifndef SP_POSIX_FILE_KEY_H_INCLUDED
#define SP_POSIX_FILE_KEY_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

typedef struct file_key {
    uint8_t bytes[1024];
    size_t n; /* 0: there is none */
} file_key_t;

/* The bytes of a file without the line ends behind them: at least 16. Ends the process with a sentence when they cannot
 * be a key, or when others than the file's owner may read it. */
void key_read(file_key_t *key, const char *path);

#endif
