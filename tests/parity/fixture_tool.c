/* fixture_tool FILE...: a line for each case, point or sample of fixtures, for scripts that judge the recorder. */
#include <stdio.h>

#include "parity/fixture.h"

static void print_point(const anx_fixture_case *c, const anx_fixture_point *p) {
    char hex[ANX_SHA256_HEX];
    printf("point %s %s %s%s%s%s\n", c->name, p->name, anx_digest_hex(&p->digest, hex), p->pytorch_bits ? " bits" : "",
           p->y32.data != NULL ? " full" : "", p->sketch != NULL ? " sketch" : "");
}

static void print_fixture(const anx_fixture *f) {
    printf("fixture %s\n", f->name);
    for (int i = 0; i < f->n_cases; i++)
        for (int k = 0; k < f->cases[i].n_points; k++) print_point(&f->cases[i], &f->cases[i].points[k]);
    for (int i = 0; i < f->n_samples; i++) printf("sample %s %zu\n", f->samples[i].name, f->samples[i].image.n_bytes);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_fixture *fixture = NULL;
        if (anx_fixture_open(argv[i], &fixture, &err) != ANX_OK) {
            char text[20000];
            fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
            return 1;
        }
        print_fixture(fixture);
        anx_fixture_close(fixture);
    }
    return 0;
}
