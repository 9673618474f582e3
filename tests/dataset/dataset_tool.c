/*
 * What the judging script runs: dataset_tool PATH N_CLASSES [NAMES.tsv [LABELS [SYNSETS]]] (an argument "-" is none).
 * Prints the layout, then "LABEL BYTES NAME" of each sample, each ended by a NUL; names are bytes as they are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/dataset/dataset.h"

static anx_error err;

static int complain(void) {
    static char text[20000];
    fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}

static const char *argument(int argc, char **argv, int i) {
    return i < argc && strcmp(argv[i], "-") != 0 ? argv[i] : NULL;
}

int main(int argc, char **argv) {
    if (argc < 3) return 64;
    anx_class_names *names = NULL;
    const char *tsv = argument(argc, argv, 3);
    if (tsv != NULL && anx_class_names_open(tsv, &names, &err) != ANX_OK) return complain();
    const anx_dataset_options options = {.classes = names,
                                         .labels = argument(argc, argv, 4),
                                         .synsets = argument(argc, argv, 5),
                                         .n_classes = atoll(argv[2])};
    anx_dataset *dataset = NULL;
    const anx_status status = anx_dataset_open(argv[1], &options, &dataset, &err);
    anx_class_names_close(names);
    if (status != ANX_OK) return complain();
    printf("%s%c", dataset->layout, '\0');
    for (int64_t i = 0; i < dataset->n_samples; i++) {
        const anx_sample *s = &dataset->samples[i];
        printf("%" PRId64 " %" PRIu64 " %s%c", s->label, s->file_bytes, s->name, '\0');
    }
    for (int i = 0; i < dataset->n_notes; i++) fprintf(stderr, "note: %s\n", dataset->notes[i]);
    anx_dataset_close(dataset);
    return 0;
}
