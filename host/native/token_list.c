#include "token_list.h"

#include <stdlib.h>

int sp_token_list_reserve(sp_token_list_t *list, size_t more)
{
    if (list->room - list->count >= more)
        return 0;
    const size_t room = 2u * list->room + more + 64u;
    if (room > SIZE_MAX / sizeof *list->items)
        return -1;
    sp_token_t *bigger = realloc(list->items, room * sizeof *bigger);
    if (!bigger)
        return -1;
    list->items = bigger;
    list->room = room;
    return 0;
}
