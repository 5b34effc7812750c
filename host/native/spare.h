/* Memory for the events of patches. What one tokenizer gives back the next one takes: to touch new pages can take longer than
 * to tokenize what goes into them. */
#ifndef SP_SPARE_H_INCLUDED
#define SP_SPARE_H_INCLUDED

#include <stddef.h>

/* As malloc and free, from any thread. */
void *sp_spare_malloc(size_t size);
void sp_spare_free(void *memory);

#endif
