#include "src/base/sha256.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct anx_sha256 {
    EVP_MD_CTX *context;
};

/*
 * Computing a hash fails where memory runs out and else hardly ever; errno, which the caller cleared, tells, and not
 * every release of libcrypto. Its list of errors, one for each thread, is not left to grow.
 */
static anx_status failed(anx_error *err) {
    const bool memory = errno == ENOMEM;
    ERR_clear_error();
    if (memory) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    return anx_error_set(err, ANX_ERR_INTERNAL, "libcrypto's SHA-256 failed");
}

anx_status anx_sha256_create(anx_sha256 **out, anx_error *err) {
    anx_sha256 *h = malloc(sizeof *h);
    if (h == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    errno = 0;
    h->context = EVP_MD_CTX_new();
    if (h->context == NULL || EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1) {
        anx_status status = failed(err);
        anx_sha256_destroy(h);
        return status;
    }
    *out = h;
    return ANX_OK;
}

anx_status anx_sha256_update(anx_sha256 *h, const void *data, size_t bytes, anx_error *err) {
    errno = 0;
    return EVP_DigestUpdate(h->context, data, bytes) == 1 ? ANX_OK : failed(err);
}

anx_status anx_sha256_finish(anx_sha256 *h, anx_digest *out, anx_error *err) {
    errno = 0;
    return EVP_DigestFinal_ex(h->context, out->bytes, NULL) == 1 ? ANX_OK : failed(err);
}

void anx_sha256_destroy(anx_sha256 *h) {
    if (h == NULL) return;
    EVP_MD_CTX_free(h->context);
    free(h);
}

anx_status anx_sha256_buffer(const void *data, size_t bytes, anx_digest *out, anx_error *err) {
    anx_sha256 *h = NULL;
    anx_status status = anx_sha256_create(&h, err);
    if (status == ANX_OK) status = anx_sha256_update(h, data, bytes, err);
    if (status == ANX_OK) status = anx_sha256_finish(h, out, err);
    anx_sha256_destroy(h);
    return status;
}

anx_status anx_tensor_digest(const anx_tensor *t, anx_digest *out, anx_error *err) {
    anx_sha256 *h = NULL;
    anx_tensor gathered = ANX_TENSOR_INIT;
    const anx_tensor *source = t;
    anx_status status = ANX_OK;
    if (!anx_tensor_is_contiguous(t)) {
        status = anx_tensor_convert(t, t->dtype, &gathered, err);
        source = &gathered;
    }
    if (status == ANX_OK) status = anx_sha256_create(&h, err);
    const char *name = anx_dtype_name(t->dtype);
    if (status == ANX_OK) status = anx_sha256_update(h, name, strlen(name) + 1, err);
    int64_t header[1 + ANX_MAX_RANK];
    header[0] = t->rank;
    for (int i = 0; i < t->rank; i++) header[1 + i] = t->shape[i];
    if (status == ANX_OK) status = anx_sha256_update(h, header, (size_t)(1 + t->rank) * sizeof header[0], err);
    if (status == ANX_OK) status = anx_sha256_update(h, source->data, anx_tensor_bytes(source), err);
    if (status == ANX_OK) status = anx_sha256_finish(h, out, err);
    anx_sha256_destroy(h);
    anx_tensor_fini(&gathered);
    return status;
}

bool anx_digest_equal(const anx_digest *a, const anx_digest *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

char *anx_digest_hex(const anx_digest *d, char buf[ANX_SHA256_HEX]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < ANX_SHA256_BYTES; i++) {
        buf[2 * i] = digits[d->bytes[i] >> 4];
        buf[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    buf[ANX_SHA256_HEX - 1] = '\0';
    return buf;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool anx_digest_parse(const char *text, anx_digest *out) {
    anx_digest d;
    for (int i = 0; i < ANX_SHA256_BYTES; i++) {
        const int high = hex_value(text[2 * i]);
        const int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);
        if (low < 0) return false;
        d.bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (text[2 * ANX_SHA256_BYTES] != '\0') return false;
    *out = d;
    return true;
}
