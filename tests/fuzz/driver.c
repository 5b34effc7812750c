/* Runs a fuzz target without libFuzzer: every file of the corpus, then seeded mutations of them.
 * driver RUNS SEED CORPUS_DIRECTORY */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

#define MOST_FILES 1024
#define LONGEST 8192u

static struct {
    uint8_t *data;
    size_t size;
} corpus[MOST_FILES];
static size_t files;
static uint64_t state;

static uint32_t chance(uint32_t below) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % below;
}

static void load(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || name[0] == '.') {
        if (file)
            fclose(file);
        return;
    }
    uint8_t *data = malloc(LONGEST);
    FUZZ_REQUIRE(data && files < MOST_FILES);
    corpus[files].size = fread(data, 1, LONGEST, file);
    corpus[files++].data = data;
    fclose(file);
}

static size_t mutate(uint8_t *data, size_t n)
{
    const size_t from = chance((uint32_t)files), at = n ? chance((uint32_t)n) : 0;
    switch (chance(6)) {
    case 0:
        if (n)
            data[at] ^= (uint8_t)(1u << chance(8));
        return n;
    case 1:
        if (n)
            data[at] = (uint8_t)chance(256);
        return n;
    case 2:
        return at;
    case 3: { /* the rest of another file */
        const size_t start = corpus[from].size ? chance((uint32_t)corpus[from].size) : 0;
        const size_t length = corpus[from].size - start < LONGEST - at ? corpus[from].size - start : LONGEST - at;
        memcpy(data + at, corpus[from].data + start, length);
        return at + length;
    }
    case 4: { /* a byte more or less */
        if (n == 0 || n == LONGEST)
            return n;
        if (chance(2)) {
            memmove(data + at + 1, data + at, n - at);
            return n + 1;
        }
        memmove(data + at, data + at + 1, n - at - 1);
        return n - 1;
    }
    default: { /* a piece again */
        const size_t length = n - at < LONGEST - n ? n - at : LONGEST - n;
        memcpy(data + n, data + at, length);
        return n + length;
    }
    }
}

/* In a block of exactly its size, so that a read beyond it is seen. */
static void try_input(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

int main(int argc, char **argv)
{
    static uint8_t data[2 * LONGEST];
    FUZZ_REQUIRE(argc == 4);
    const long runs = atol(argv[1]);
    unsigned long long bytes = 0;
    state = (uint64_t)atol(argv[2]) * 2u + 1u;
    DIR *folder = opendir(argv[3]);
    FUZZ_REQUIRE(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        load(argv[3], entry->d_name);
    closedir(folder);
    FUZZ_REQUIRE(files > 0);
    for (size_t i = 0; i < files; i++)
        try_input(corpus[i].data, corpus[i].size);
    for (long i = 0; i < runs; i++) {
        const size_t from = chance((uint32_t)files);
        size_t n = corpus[from].size;
        memcpy(data, corpus[from].data, n);
        for (uint32_t k = 1 + chance(8); k > 0; k--)
            n = mutate(data, n);
        try_input(data, n);
        bytes += n;
    }
    printf("%zu files, %ld mutations, %llu bytes\n", files, runs, bytes);
    for (size_t i = 0; i < files; i++)
        free(corpus[i].data);
    return 0;
}
