/* Tokens being collected, in memory that grows. */
#ifndef SP_TOKEN_LIST_H_INCLUDED
#define SP_TOKEN_LIST_H_INCLUDED

#include <stddef.h>

#include "inline.h"
#include "spedge/tokenizer.h"

/* items is malloc's. */
typedef struct sp_token_list {
    sp_token_t *items;
    size_t count, room;
} sp_token_list_t;

/* 0, or -1 without memory. */
int sp_token_list_reserve(sp_token_list_t *list, size_t more);

SP_INLINE int sp_token_list_add(sp_token_list_t *list, sp_token_t token)
{
    if (SP_RARELY(list->count == list->room) && sp_token_list_reserve(list, 1) != 0)
        return -1;
    list->items[list->count++] = token;
    return 0;
}

#endif
