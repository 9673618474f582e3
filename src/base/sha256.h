/*
 * SHA-256 (libcrypto) and the digest of a tensor, by which recordings find the checkpoints they apply to.
 */
#ifndef ANX_SRC_BASE_SHA256_H
#define ANX_SRC_BASE_SHA256_H

#include "src/base/tensor.h"

enum { ANX_SHA256_BYTES = 32, ANX_SHA256_HEX = 65 /* 64 digits and the terminator */ };

typedef struct anx_digest {
    uint8_t bytes[ANX_SHA256_BYTES];
} anx_digest;

/* A running hash; created and destroyed, since libcrypto keeps its state on the heap. */
typedef struct anx_sha256 anx_sha256;
anx_status anx_sha256_create(anx_sha256 **out, anx_error *err);
anx_status anx_sha256_update(anx_sha256 *h, const void *data, size_t bytes, anx_error *err);
anx_status anx_sha256_finish(anx_sha256 *h, anx_digest *out, anx_error *err);
void anx_sha256_destroy(anx_sha256 *h);

anx_status anx_sha256_buffer(const void *data, size_t bytes, anx_digest *out, anx_error *err);

/*
 * Digest of a tensor: SHA-256 over, in this order,
 *   the dtype's name as PyTorch spells it ("float32") and one zero byte,
 *   the rank as a little-endian int64, each extent as a little-endian int64,
 *   the elements, contiguous, little-endian.
 * A strided tensor is gathered first, so that a tensor and its contiguous copy have one digest.
 */
anx_status anx_tensor_digest(const anx_tensor *t, anx_digest *out, anx_error *err);

bool anx_digest_equal(const anx_digest *a, const anx_digest *b);
/* 64 lower-case hex digits and a terminator. Returns buf. */
char *anx_digest_hex(const anx_digest *d, char buf[ANX_SHA256_HEX]);
/* False unless text is exactly 64 hex digits. */
bool anx_digest_parse(const char *text, anx_digest *out);

#endif
