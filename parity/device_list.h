/* Every backend and every device of it, opened to hear what it is, or why it is not there; and two views of that. */
#ifndef ANX_PARITY_DEVICE_LIST_H
#define ANX_PARITY_DEVICE_LIST_H

#include "parity/device_facts.h"

typedef struct anx_listed_device {
    char *name;   /* as anx_device_open takes it: "cpu", "cuda:1" */
    char *reason; /* why it does not open; NULL where it does */
    anx_device_facts facts;
} anx_listed_device;

typedef struct anx_listed_backend {
    const anx_backend *backend; /* as it is registered */
    char *reason;               /* why there is no device; NULL where there is one */
    anx_listed_device *devices;
    int n_devices;
} anx_listed_backend;

typedef struct anx_device_list {
    anx_listed_backend *backends;
    int n_backends;
    const char *automatic; /* what "auto" takes; NULL: nothing is there */
} anx_device_list;

/* Release with anx_device_list_fini. A device that is not there is no error. Errors: OUT_OF_MEMORY. */
anx_status anx_device_list_gather(anx_device_list *out, anx_error *err);
void anx_device_list_fini(anx_device_list *list);

/* For people, at most 100 columns wide; malloc'd. Errors: OUT_OF_MEMORY. */
anx_status anx_device_list_text(const anx_device_list *list, bool color, char **text, size_t *n_bytes, anx_error *err);
/* parity/devices.schema.json describes it. Errors: OUT_OF_MEMORY. */
anx_status anx_device_list_json(const anx_device_list *list, char **text, size_t *n_bytes, anx_error *err);

#endif
