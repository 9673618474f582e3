/* A plan's values in raw little-endian files: what the programs share that run plans for the judges in Python. */
#ifndef ANX_TESTS_BACKEND_PLAN_FILES_H
#define ANX_TESTS_BACKEND_PLAN_FILES_H

#include <stdio.h>

#include "loaders/file.h"
#include "src/backend/backend.h"

/*
 * Views of the graph's parameters in its order, float32, from a file that holds them and nothing else; into params,
 * of graph->n_params. Errors: those of anx_file_map_init, MISMATCH (another size). The map is the caller's to release.
 */
anx_status plan_file_params(const char *path, const anx_graph *graph, anx_file_map *map, anx_tensor *params,
                            anx_error *err);

/* Writes a value from its elements of the type, *used bytes after the file's start, which moves on. Errors: MISMATCH.
 */
anx_status plan_file_write(anx_plan *plan, anx_value value, anx_dtype dtype, const anx_file_map *map, size_t *used,
                           anx_error *err);

/* Appends a value's elements as the type, and prints "LABEL ELEMS". Errors: IO, OUT_OF_MEMORY, and what reading has. */
anx_status plan_file_append(anx_plan *plan, anx_value value, anx_dtype dtype, const char *label, FILE *file,
                            anx_error *err);

#endif
