/* What a device tells of itself, kept beyond it, and in the words and the JSON that all reports share. */
#ifndef ANX_PARITY_DEVICE_FACTS_H
#define ANX_PARITY_DEVICE_FACTS_H

#include "src/backend/backend.h"

/* A device, copied from anx_device_info, where its fields are explained; texts that are not there are "" or NULL. */
typedef struct anx_device_facts {
    char *backend, *device, *library, *isa, *arithmetic;
    int threads;
    anx_math_mode math;
    bool deterministic, pytorch_bits;
    uint64_t memory_bytes, free_bytes;
    char *capability, *libraries, *notes;
} anx_device_facts;

/* Fills *out, zeros or facts, which the caller releases after an error too. Errors: OUT_OF_MEMORY. */
anx_status anx_device_facts_copy(const anx_device_info *info, anx_device_facts *out, anx_error *err);
void anx_device_facts_fini(anx_device_facts *facts);
/* The other way round: texts belong to the facts. */
anx_device_info anx_device_facts_info(const anx_device_facts *facts);

enum { ANX_DEVICE_WORDS = 512 };

/*
 * "oneDNN 2.6.3 (OpenMP), AVX-512, float32, 2 threads" into buf: all that fits on a line, with the math mode where it
 * is not float32, and what is not the same in every run. Truncates. Returns buf.
 */
char *anx_device_format(const anx_device_info *info, char buf[ANX_DEVICE_WORDS]);
/* Line i of what more there is to say: its memory, each library, each note. False past the last one. */
bool anx_device_line(const anx_device_info *info, int i, char buf[ANX_DEVICE_WORDS]);

struct anx_json;
struct cJSON;
/* All of it, as an object under key (json_builder.h). */
void anx_json_add_device(struct anx_json *json, struct cJSON *to, const char *key, const anx_device_info *info);

#endif
