/* The device application (firmware/app) in a process of Python's: with a model that is known at run time only. */
#ifndef SP_HOST_APPLICATION_H_INCLUDED
#define SP_HOST_APPLICATION_H_INCLUDED

#include "spedge/model.h"

/* Compute the outputs, one behind the other, from rows [tokens][hidden], of which `count` are tokens and the others zero.
 * Returns SP_OK or an SP_ERR_*. */
typedef int (*application_encode_t)(float *rows, uint32_t count, float *outputs);

/* The model that is served: its rows are first in the arena, and its outputs at outputs[0].offset. What it points to stays
 * the caller's. stateful: of causal attention, whose windows do not overlap. */
void application_model(const sp_model_t *model, int stateful, application_encode_t encode);

/* firmware/app's main: serves a host over a pseudo-terminal, and does not return. */
int application_main(int argc, char **argv);

#endif
