#include "spare.h"

#include <stdint.h>
#include <stdlib.h>

#define SLOTS 6u
#define SLOT_BYTES ((size_t)8 << 20) /* larger blocks are not kept, so that 48 MiB are the most */
#define HEAD 64u                     /* before what is handed out; a line of the cache */

typedef struct block {
    size_t size; /* behind the head */
} block_t;

#if defined(__GNUC__)
static block_t *slots[SLOTS];

static block_t *exchange(block_t **slot, block_t *block)
{
    return __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL);
}
#else
static block_t *slots[1];

static block_t *exchange(block_t **slot, block_t *block) /* nothing is kept */
{
    (void)slot;
    return block;
}
#endif

/* Into the first slot that is free; or free it. */
static void put(block_t *block)
{
    for (size_t i = 0; block && i < sizeof slots / sizeof *slots; i++)
        block = exchange(&slots[i], block); /* the one that was there moves on */
    free(block);
}

void *sp_spare_malloc(size_t size)
{
    if (size > SIZE_MAX - HEAD)
        return NULL;
    for (size_t i = 0; size <= SLOT_BYTES && i < sizeof slots / sizeof *slots; i++) {
        block_t *block = exchange(&slots[i], NULL);
        if (block && block->size >= size && block->size - size <= size / 4u)
            return (uint8_t *)block + HEAD;
        put(block);
    }
    block_t *block = malloc(HEAD + size);
    if (!block)
        return NULL;
    block->size = size;
    return (uint8_t *)block + HEAD;
}

void sp_spare_free(void *memory)
{
    if (!memory)
        return;
    block_t *block = (block_t *)(void *)((uint8_t *)memory - HEAD);
    if (block->size > SLOT_BYTES)
        free(block);
    else
        put(block);
}
