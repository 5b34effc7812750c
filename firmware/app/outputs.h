/* What the linked model gives: all its outputs as one row of numbers, in the arena. */
#ifndef SP_APP_OUTPUTS_H_INCLUDED
#define SP_APP_OUTPUTS_H_INCLUDED

#include <stdint.h>

/* Numbers in the row: all outputs, one behind the other in the model's order. */
uint32_t app_outputs_numbers(void);

/* What follows those: numbers of a detector's state, hidden, then cell; words of the tables of a model on graphs, which are
 * whole numbers; 0: there is nothing more to be read. */
uint32_t app_outputs_state(void);

/* Number `first` of outputs and state, below their length, after a run; n: how many follow each other there, itself
 * included. */
const float *app_outputs_at(const void *arena, uint32_t first, uint32_t *n);

#endif
