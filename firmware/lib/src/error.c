#include "spedge/error.h"

const char *sp_strerror(int code)
{
    switch (code) {
    case SP_OK:
        return "good";
    case SP_TOKEN:
        return "a token is ready";
    case SP_MORE:
        return "the output is full, call again";
    case SP_TIME:
        return "the time is reached, call again";
    case SP_ERR_CONFIG:
        return "a configuration value is out of range";
    case SP_ERR_MEMORY:
        return "the memory given is too small or misaligned";
    case SP_ERR_POOL:
        return "the event pool is full";
    case SP_ERR_FORMAT:
        return "the bytes are not in the expected format";
    case SP_ERR_CAPACITY:
        return "the buffer given is too small";
    default:
        return "unknown code";
    }
}
