#include "harness.h"
#include "spedge/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *hex(const uint8_t digest[SP_SHA256_BYTES])
{
    static char text[2 * SP_SHA256_BYTES + 1];
    for (size_t i = 0; i < SP_SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

/* The digest of a text fed in pieces, each from a block exactly as long. */
static const char *digest_of(const char *text, size_t n, size_t piece)
{
    uint8_t digest[SP_SHA256_BYTES];
    sp_sha256_t hash;
    sp_sha256_init(&hash);
    for (size_t at = 0; at < n; at += piece) {
        const size_t taken = n - at < piece ? n - at : piece;
        uint8_t *block = malloc(taken);
        CHECK(block != NULL);
        memcpy(block, text + at, taken);
        sp_sha256_feed(&hash, block, taken);
        free(block);
    }
    sp_sha256_end(&hash, digest);
    return hex(digest);
}

TEST(sha256_digests_are_those_of_the_standard)
{
    static const struct {
        const char *text, *digest;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqr"
         "stu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        for (size_t piece = 1; piece < 130; piece++)
            CHECK(strcmp(digest_of(vectors[i].text, strlen(vectors[i].text), piece), vectors[i].digest) == 0);
}

TEST(sha256_of_a_million_bytes_is_that_of_the_standard)
{
    enum { N = 1000000 };
    char *text = malloc(N);
    CHECK(text != NULL);
    memset(text, 'a', N);
    CHECK(strcmp(digest_of(text, N, 4099), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0);
    free(text);
}

TEST(hmac_sha256_is_that_of_rfc_4231)
{
    static const struct {
        uint8_t key;
        size_t key_bytes; /* of that byte; 0: "Jefe" */
        uint8_t byte;
        size_t bytes; /* of that one; 0: the text */
        const char *text, *digest;
    } vectors[] = {
        {0x0b, 20, 0, 0, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {0, 0, 0, 0, "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {0xaa, 20, 0xdd, 50, NULL, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {0xaa, 131, 0, 0, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {0xaa, 131, 0, 0,
         "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
         "hashed "
         "before being used by the HMAC algorithm.",
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint8_t key[131], text[200], digest[SP_SHA256_BYTES];
        size_t key_bytes = vectors[i].key_bytes, n = vectors[i].bytes;
        memset(key, vectors[i].key, sizeof key);
        memset(text, vectors[i].byte, sizeof text);
        if (key_bytes == 0)
            memcpy(key, "Jefe", key_bytes = 4);
        if (n == 0)
            memcpy(text, vectors[i].text, n = strlen(vectors[i].text));
        sp_hmac_sha256(key, key_bytes, text, n, digest);
        CHECK(strcmp(hex(digest), vectors[i].digest) == 0);
    }
}

TEST(same_bytes_are_all_looked_at)
{
    uint8_t a[32] = {1, 2, 3}, b[32] = {1, 2, 3};
    CHECK(sp_same_bytes(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] ^= (uint8_t)(1u << bit);
            CHECK(!sp_same_bytes(a, b, sizeof a));
            b[i] ^= (uint8_t)(1u << bit);
        }
    CHECK(sp_same_bytes(a, b, 0));
}
