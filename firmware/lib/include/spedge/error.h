/* Return codes of libspedge: >= 0 is good, < 0 is an error. */
#ifndef SP_ERROR_H_INCLUDED
#define SP_ERROR_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SP_OK = 0,
    SP_TOKEN = 1,        /* a token is ready; call again for the rest of the input */
    SP_MORE = 2,         /* the output is full; call again for the rest */
    SP_TIME = 3,         /* the stream has reached the time asked for; call again for the rest */
    SP_ERR_CONFIG = -1,  /* a configuration value is out of range */
    SP_ERR_MEMORY = -2,  /* the memory given is smaller than the size function says, or misaligned */
    SP_ERR_POOL = -3,    /* the pool is full and may grow (SP_POOL_GROWS): give more and call again */
    SP_ERR_FORMAT = -4,  /* bytes that the format does not allow */
    SP_ERR_CAPACITY = -5 /* the caller's buffer is too small */
};

/* A sentence for a code; never NULL. Any context. */
const char *sp_strerror(int code);

#ifdef __cplusplus
}
#endif
#endif
