/* Stands in for sp_model in a firmware without one: it makes tokens and infers nothing. */
#include "spedge/model.h"

#if !SP_HAS_MODEL
const sp_model_t sp_model = {.name = ""};
#endif
