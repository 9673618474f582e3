/*
 * What predictions_torch.py runs.
 *   predict_tool predict N CLASSES BATCH FILE   FILE: float32 logits (N, CLASSES), then int64 labels (N). A line for
 * each image, its fields in the order of anx_prediction; then the sums predict_tool sample POPULATION COUNT SEED   the
 * numbers drawn predict_tool wilson RIGHT N POPULATION Z    the interval
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/predictions.h"

static anx_error err;

static int complain(void) {
    static char text[20000];
    fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}

static void print_prediction(const anx_prediction *p) {
    printf("%" PRId64 " %" PRId64, p->file, p->label);
    for (int i = 0; i < ANX_TOP; i++) printf(" %" PRId32, p->top[i]);
    for (int i = 0; i < ANX_TOP; i++) printf(" %.9g", (double)p->probability[i]);
    printf(" %.17g %d %d %d %d %.17g %.17g %.17g %d %d %d\n", p->loss, p->right1, p->right5, p->tied1, p->tied5,
           p->margin1, p->margin5, p->spread, p->ambiguous1, p->ambiguous5, p->non_finite);
}

static int predict(int64_t n, int64_t classes, int64_t batch, const char *path) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    if (anx_read_file(path, &bytes, &n_bytes, &err) != ANX_OK) return complain();
    const size_t logit_bytes = (size_t)(n * classes) * sizeof(float);
    anx_prediction *all = calloc((size_t)n, sizeof *all);
    float *row = calloc((size_t)classes, sizeof *row);
    if (all == NULL || row == NULL || n_bytes != logit_bytes + (size_t)n * sizeof(int64_t)) return 2;
    for (int64_t i = 0; i < n; i++) {
        int64_t label;
        memcpy(row, bytes + (size_t)(i * classes) * sizeof(float), (size_t)classes * sizeof(float));
        memcpy(&label, bytes + logit_bytes + (size_t)i * sizeof label, sizeof label);
        anx_predict(row, classes, label, ANX_MATH_FLOAT32, &all[i]);
        all[i].file = i;
        if (!anx_prediction_is_sound(&all[i], classes, ANX_MATH_FLOAT32)) printf("unsound: ");
        print_prediction(&all[i]);
    }
    anx_accuracy a = ANX_ACCURACY_INIT;
    if (anx_accuracy_count(all, n, classes, batch, &a, &err) != ANX_OK) return complain();
    printf(
        "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %.17g %.17g\n",
        a.images, a.right1, a.right5, a.tied1, a.tied5, a.ambiguous1, a.ambiguous5, a.non_finite, a.loss, a.batch_loss);
    for (int64_t c = 0; c < classes; c++)
        printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", a.classes[c].images, a.classes[c].right1, a.classes[c].right5);
    anx_accuracy_fini(&a);
    free(row);
    free(all);
    free(bytes);
    return 0;
}

static int sample(int64_t population, int64_t count, uint64_t seed) {
    int64_t *indices = calloc((size_t)count + 1, sizeof *indices);
    if (indices == NULL) return 2;
    if (anx_draw_sample(population, count, seed, indices, &err) != ANX_OK) return complain();
    for (int64_t i = 0; i < count; i++) printf("%" PRId64 "\n", indices[i]);
    free(indices);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "predict") == 0)
        return predict(atoll(argv[2]), atoll(argv[3]), atoll(argv[4]), argv[5]);
    if (argc == 5 && strcmp(argv[1], "sample") == 0)
        return sample(atoll(argv[2]), atoll(argv[3]), strtoull(argv[4], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "wilson") == 0) {
        const anx_interval i = anx_wilson(atoll(argv[2]), atoll(argv[3]), atoll(argv[4]), atof(argv[5]));
        printf("%.17g %.17g\n", i.low, i.high);
        return 0;
    }
    return 64;
}
