/*
 * Kaggle's LOC_val_solution.csv: `ImageId,PredictionString`, then NAME,WNID X Y X Y [WNID X Y X Y]...; the first wnid
 * is the image's class, names have no extension.
 */
#include <string.h>
#include <strings.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/labels.h"

static const char heading[] = "ImageId";

/* Takes the quotes off a field that has them at both ends. */
static char *unquoted(char *field) {
    const size_t n = strlen(field);
    if (n < 2 || field[0] != '"' || field[n - 1] != '"') return field;
    field[n - 1] = '\0';
    return field + 1;
}

/* Cuts the line into its name and the first word behind the comma. */
static bool cut(char *line, char **name, char **word) {
    char *comma = strchr(line, ',');
    if (comma == NULL) return false;
    *comma = '\0';
    *name = unquoted(line);
    *word = unquoted(comma + 1);
    *word += strspn(*word, " \t");
    (*word)[strcspn(*word, " \t,")] = '\0';
    return **name != '\0' && **word != '\0';
}

static bool recognises(char *line) {
    char *name, *word;
    return cut(line, &name, &word) && (strcasecmp(name, heading) == 0 || anx_looks_like_wnid(word));
}

static bool read_line(anx_label_context *c, char *line, int64_t number, anx_label *out) {
    char *name, *wnid, shown[400];
    if (!cut(line, &name, &wnid)) {
        anx_defects_add_line(c->defects, true, number, "expected 'NAME,WNID ...', got '%s'",
                             anx_text_printable(line, strlen(line), shown, sizeof shown));
        return false;
    }
    if (strcasecmp(name, heading) == 0) return false;
    *out = (anx_label){.name = name, .label = anx_label_of_wnid(c, wnid, number), .line = number};
    return true;
}

const anx_label_format anx_label_kaggle = {
    .name = "Kaggle's LOC_val_solution.csv",
    .usual_names = (const char *const[]){"LOC_val_solution.csv", NULL},
    .without_extension = true,
    .by_wnid = true,
    .recognises = recognises,
    .read_line = read_line,
};
