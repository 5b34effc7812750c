/* Who has the link, where hosts can come while another one is there (SPEC.md, section 3.1). */
#ifndef SP_APP_HOST_H_INCLUDED
#define SP_APP_HOST_H_INCLUDED

#include "state.h"

/* app_admits of port.h. A host that yields is let in beside another one only when the session is its own: then the
 * other is a connection of its own that broke. */
int app_meet(app_t *app, const uint8_t *first, size_t n, int occupied);

/* app_greets of port.h. */
int app_is_hello(const uint8_t *first, size_t n);

#endif
