/* A pipeline with a model's embedding, and bytes for it. */
#ifndef PIPELINE_PIECES_H_INCLUDED
#define PIPELINE_PIECES_H_INCLUDED

#include "spedge/pipeline.h"

#define P 4u
#define BUCKETS 6u
#define HIDDEN 17u
#define CELLS (2u * BUCKETS * P * P)
#define WINDOW 8u

/* 34x34 pixels, windows of WINDOW tokens. */
sp_pipeline_config_t pieces_config(void);

sp_pipeline_t *pieces_pipeline(const sp_pipeline_config_t *c);

/* EVT2, a time word before every event. */
uint8_t *pieces_encode(const sp_event_t *events, size_t n);

#endif
