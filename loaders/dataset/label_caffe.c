/* Caffe's val.txt: `NAME INDEX` a line; names may hold spaces, so the index is what follows the last one. */
#include <inttypes.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/labels.h"

/* Cuts the line into its name and its index. */
static bool cut(char *line, const char **index) {
    char *space = line + strlen(line);
    while (space > line && strchr(" \t", space[-1]) == NULL) space--;
    if (space == line || *space == '\0') return false;
    *index = space;
    while (space > line && strchr(" \t", space[-1]) != NULL) *--space = '\0';
    return *line != '\0';
}

static bool recognises(char *line) {
    const char *index;
    int64_t value;
    return cut(line, &index) && anx_parse_index(index, &value);
}

static bool read_line(anx_label_context *c, char *line, int64_t number, anx_label *out) {
    const char *index;
    char shown[400];
    if (!cut(line, &index)) {
        anx_defects_add_line(c->defects, true, number, "expected 'NAME INDEX', got '%s'",
                             anx_text_printable(line, strlen(line), shown, sizeof shown));
        return false;
    }
    *out = (anx_label){.name = line, .label = -1, .line = number};
    int64_t value;
    if (!anx_parse_index(index, &value))
        anx_defects_add_line(c->defects, true, number, "'%s' is no class index",
                             anx_text_printable(index, strlen(index), shown, sizeof shown));
    else if (value >= c->options->n_classes)
        anx_defects_add_line(c->defects, false, number, "class index %" PRId64 "; the model has 0 to %" PRId64, value,
                             c->options->n_classes - 1);
    else
        out->label = value;
    return true;
}

const anx_label_format anx_label_caffe = {
    .name = "Caffe's val.txt",
    .usual_names = (const char *const[]){"val.txt", "ILSVRC2012_val.txt", NULL},
    .recognises = recognises,
    .read_line = read_line,
};
