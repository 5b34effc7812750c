# cython: language_level=3, boundscheck=False, wraparound=False
"""The device application with a model of Python's (spedge.boards.host)."""
import os
import traceback

import numpy as np

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset

from libspedge cimport SP_OK, sp_embed_config_t, sp_tokenizer_config_t

cdef extern from "application.h" nogil:
    enum:
        SP_TASK_CLASSIFICATION
    ctypedef struct sp_output_t:
        const char *name
        const uint32_t *shape
        uint32_t rank, size, offset
    ctypedef struct sp_model_t:
        uint8_t hash[32]
        const char *name
        sp_tokenizer_config_t tokenizer
        sp_embed_config_t embed
        uint16_t tokens
        uint8_t task, output_count
        const sp_output_t *outputs
        uint32_t arena_bytes, input_offset
    ctypedef int (*application_encode_t)(float *rows, uint32_t count, float *outputs) noexcept
    void application_model(const sp_model_t *model, int stateful, application_encode_t encode)
    int application_main(int argc, char **argv)

cdef object _kept  # what the model points to
cdef object _run
cdef uint32_t _tokens, _hidden, _numbers


cdef int _encode(float *rows, uint32_t count, float *outputs) noexcept with gil:
    """A model that fails ends the process: its last line is what the host is told."""
    try:
        _run(np.asarray(<float[:_tokens, :_hidden]>rows), count, np.asarray(<float[:_numbers]>outputs))
    except BaseException:
        traceback.print_exc()
        os._exit(3)
    return SP_OK


def serve(bytes digest, bytes name, tokenizer, float time_scale_us, uint8_t buckets,
          const float[:, ::1] weight not None, const float[::1] bias not None, uint16_t tokens, outputs,
          bint stateful, run):
    """Be a device with that model until the process is ended.

    tokenizer: a TokenizerSettings with width and height in front. weight: float32 [cells, hidden]. outputs: pairs of a
    name and a shape. run(rows, count, numbers) writes all outputs' numbers from float32 [tokens, hidden].
    """
    global _kept, _run, _tokens, _hidden, _numbers
    cdef sp_model_t model
    cdef sp_output_t *table
    cdef uint32_t *shape
    cdef uint32_t rows_bytes, i, axis, size, at = 0
    width, height, settings = tokenizer
    _kept, _run = (name, weight.base, bias.base, [label for label, _ in outputs]), run
    _tokens, _hidden = tokens, <uint32_t>bias.shape[0]
    rows_bytes = (tokens * _hidden * 4 + 15) // 16 * 16
    table = <sp_output_t *>calloc(len(outputs), sizeof(sp_output_t))
    if table == NULL:
        raise MemoryError()
    for i, (label, sizes) in enumerate(outputs):
        shape = <uint32_t *>calloc(max(len(sizes), 1), sizeof(uint32_t))
        if shape == NULL:
            raise MemoryError()
        size = 1
        for axis in range(<uint32_t>len(sizes)):
            shape[axis] = sizes[axis]
            size *= shape[axis]
        table[i].name, table[i].shape, table[i].rank = label, shape, len(sizes)
        table[i].size, table[i].offset = size, rows_bytes + 4 * at
        at += size
    _numbers = at
    memset(&model, 0, sizeof(model))  # fields that are not declared here, too
    memcpy(model.hash, <const char *>digest, 32)
    model.name = name
    model.tokenizer.width, model.tokenizer.height = width, height
    model.tokenizer.patch_size, model.tokenizer.threshold = settings.patch_size, settings.threshold
    model.tokenizer.absolute_refractory_us = settings.absolute_refractory_us
    model.tokenizer.relative_refractory_us = settings.relative_refractory_us
    model.tokenizer.relative_scale, model.tokenizer.decay_per_us = settings.relative_scale, settings.decay_per_us
    model.embed.patch_size, model.embed.hidden, model.embed.buckets = settings.patch_size, _hidden, buckets
    model.embed.time_scale_us = time_scale_us
    model.embed.weight, model.embed.bias = &weight[0, 0], &bias[0]
    model.tokens, model.task, model.output_count = tokens, SP_TASK_CLASSIFICATION, len(outputs)
    model.outputs, model.arena_bytes = table, (rows_bytes + 4 * at + 15) // 16 * 16
    application_model(&model, stateful, _encode)
    cdef char *arguments[2]
    arguments[0], arguments[1] = "host", NULL
    with nogil:
        application_main(1, arguments)
