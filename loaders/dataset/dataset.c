#include "loaders/dataset/dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/class_folders.h"
#include "loaders/dataset/container.h"
#include "loaders/dataset/labels.h"

static const anx_container *const containers[] = {&anx_container_folder, &anx_container_tar};
enum { N_CONTAINERS = sizeof containers / sizeof containers[0], MAX_NOTES = 8 };

static const char things_do_not_fit[] = "things do not fit";

typedef struct impl {
    anx_dataset dataset; /* what the caller has */
    const anx_container *container;
    int fd;                    /* the container's, or -1 */
    anx_listing listing;       /* owns all text that the dataset points to */
    const anx_listed **listed; /* (n_samples) */
    const char *notes[MAX_NOTES];
    /* while it is being opened */
    const anx_dataset_options *options;
    int64_t n_classes; /* that there are, once the folders are known */
    anx_wnids wnids;
    anx_class_folders folders;
    anx_defects defects;
    char *labels_found; /* path of a label file that was looked for */
    int64_t n_links, n_hidden;
} impl;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- text that stays ------------------------------------------------------------------------------------ */

static const char *keep(impl *d, const char *text) {
    return anx_arena_text(&d->listing.arena, text, strlen(text));
}

static anx_status add_note(impl *d, anx_error *err, const char *format, ...) __attribute__((format(printf, 3, 4)));
static anx_status add_note(impl *d, anx_error *err, const char *format, ...) {
    char text[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (d->dataset.n_notes == MAX_NOTES) return anx_error_set(err, ANX_ERR_INTERNAL, "too many notes");
    d->notes[d->dataset.n_notes] = keep(d, text);
    return d->notes[d->dataset.n_notes++] != NULL ? ANX_OK : out_of_memory(err);
}

static anx_status set_layout(impl *d, anx_error *err, const char *format, ...) __attribute__((format(printf, 3, 4)));
static anx_status set_layout(impl *d, anx_error *err, const char *format, ...) {
    char text[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    d->dataset.layout = keep(d, text);
    return d->dataset.layout != NULL ? ANX_OK : out_of_memory(err);
}

/* ---- what is there -------------------------------------------------------------------------------------- */

static anx_status choose_container(impl *d, const char *path, anx_error *err) {
    struct stat st;
    if (stat(path, &st) != 0)
        return anx_error_set_errno(err, errno == ENOENT ? ANX_ERR_NOT_FOUND : ANX_ERR_IO, errno, "cannot open");
    for (int i = 0; i < N_CONTAINERS; i++)
        if ((st.st_mode & S_IFMT) == containers[i]->type) d->container = containers[i];
    return d->container != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "neither a folder nor a file");
}

static void find_duplicates(impl *d) {
    for (size_t i = 1; i < d->listing.n_files; i++) {
        char shown[600];
        const char *name = d->listing.files[i].name;
        if (strcmp(d->listing.files[i - 1].name, name) == 0)
            anx_defects_add(&d->defects, "'%s': twice in the archive",
                            anx_text_printable(name, strlen(name), shown, sizeof shown));
    }
}

static anx_status list_files(impl *d, anx_error *err) {
    anx_status status = d->container->list(&d->listing, &d->fd, &d->defects, &d->n_links, err);
    if (status == ANX_OK)
        status = anx_class_folders_find(&d->listing, &d->wnids, d->container->may_have_outer, &d->folders, err);
    if (status == ANX_OK) find_duplicates(d);
    /* What is damaged goes first where nothing else could be found. */
    if (status == ANX_OK && !d->folders.images_above && !d->folders.images_below)
        status = anx_defects_status(&d->defects, things_do_not_fit, err);
    return status;
}

/* The folder that a path lies in; malloc'd, NULL: out of memory. */
static char *folder_of(const char *path) {
    const char *base = anx_base_name(path);
    if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        char *above = malloc(strlen(path) + sizeof "/..");
        if (above != NULL) sprintf(above, "%s/..", path);
        return above;
    }
    return base == path ? strdup(".") : strndup(path, base - path == 1 ? 1 : (size_t)(base - path - 1));
}

static anx_status find_labels(impl *d, anx_error *err) {
    const char *root = d->listing.root;
    char *beside = folder_of(root);
    if (beside == NULL) return out_of_memory(err);
    d->labels_found = anx_labels_find(d->container->type == S_IFDIR ? root : NULL, beside, d->options->synsets != NULL);
    free(beside);
    return ANX_OK;
}

/*
 * The label file to use, NULL where folders are the labels. Folders named by wnids need none; a folder of images needs
 * one; otherwise a list that lies there counts only if the folders cannot be the classes.
 */
static anx_status choose_labels(impl *d, const char **labels, anx_error *err) {
    const anx_class_folders *f = &d->folders;
    *labels = d->options->labels;
    if (*labels != NULL || f->n_known > 0) return ANX_OK;
    if (d->options->n_classes == 0) {
        if (f->n > 0 && f->images_below) return ANX_OK;
        return anx_error_set(err, ANX_ERR_NOT_FOUND,
                             "no folders of images in it, one for each class; what counts is a name that ends in %s",
                             ANX_IMAGE_EXTENSIONS);
    }
    const anx_status status = find_labels(d, err);
    if (status != ANX_OK) return status;
    if (d->labels_found != NULL && (f->images_above || (f->images_below && f->n != (uint64_t)d->n_classes)))
        *labels = d->labels_found;
    if (*labels != NULL || f->images_below || (f->n > 0 && !f->images_above)) return ANX_OK;
    char names[300];
    if (!f->images_above)
        return anx_error_set(err, ANX_ERR_NOT_FOUND,
                             "no images in it: no folders of classes, no file whose name ends in %s",
                             ANX_IMAGE_EXTENSIONS);
    return anx_error_set(
        err, ANX_ERR_NOT_FOUND,
        "images, but neither folders of classes nor a label file (%s) in it or beside it; name one with "
        "--labels",
        anx_labels_usual_names(names, sizeof names));
}

/* ---- folders as labels ---------------------------------------------------------------------------------- */

static bool is_number(const char *text) {
    int64_t value;
    return anx_parse_index(text, &value);
}

/* "10" sorts before "2": who named folders by index may not expect that. */
static bool are_numbers_out_of_order(const anx_class_folders *f) {
    bool moved = false;
    for (size_t i = 0; i < f->n; i++) {
        if (!is_number(f->names[i])) return false;
        moved = moved || strtoull(f->names[i], NULL, 10) != i;
    }
    return moved;
}

/* Where ImageFolder would number the folders otherwise than by wnid. */
static anx_status note_shift(impl *d, anx_error *err) {
    const anx_class_folders *f = &d->folders;
    bool shifted = false;
    for (size_t i = 0; i < f->n; i++) shifted = shifted || anx_wnids_find(&d->wnids, f->names[i]) != (int64_t)i;
    if (!shifted) return ANX_OK;
    return add_note(
        d, err,
        "Folders are matched to classes by their %ss. torchvision's ImageFolder would number these %zu from "
        "0 to %zu and so count against other classes.",
        anx_wnids_word(&d->wnids), f->n, f->n - 1);
}

static anx_status label_by_folders(impl *d, anx_error *err) {
    const anx_class_folders *f = &d->folders;
    anx_class_folders_label(f, &d->listing, &d->wnids, d->n_classes, &d->defects);
    anx_status status = anx_defects_status(&d->defects, things_do_not_fit, err);
    if (status != ANX_OK) return status;
    d->dataset.by_wnid = f->n_known > 0;
    const bool by_name = d->dataset.by_wnid && strcmp(anx_wnids_word(&d->wnids), "name") == 0;
    status = set_layout(d, err, "%s%s",
                        by_name              ? "class folders by name"
                        : d->dataset.by_wnid ? "wnid folders"
                                             : "class folders",
                        d->container->of_folders);
    if (status == ANX_OK && d->dataset.by_wnid) status = note_shift(d, err);
    if (status == ANX_OK && !d->dataset.by_wnid && are_numbers_out_of_order(f))
        status = add_note(d, err,
                          "Folders are named by numbers; as for torchvision's ImageFolder, their order as text "
                          "(\"10\" before \"2\") decides which class each is, not the number.");
    if (status == ANX_OK && f->images_above)
        status = add_note(d, err,
                          "Images beside the folders of classes are not counted, as for torchvision's "
                          "ImageFolder.");
    return status;
}

/* ---- a label file --------------------------------------------------------------------------------------- */

static anx_status match_labels(impl *d, anx_labels *labels, anx_error *err) {
    char heading[700], shown[600];
    const anx_status status = anx_labels_match(labels, &d->listing, &d->defects, &d->n_hidden, err);
    if (status != ANX_OK) return status;
    snprintf(heading, sizeof heading, "things do not fit, in it or in %s",
             anx_text_printable(d->listing.root, strlen(d->listing.root), shown, sizeof shown));
    return anx_defects_status(&d->defects, heading, err);
}

static anx_status label_by_file(impl *d, const char *path, anx_error *err) {
    anx_labels labels = {0};
    anx_status status = anx_labels_read(path, d->options, &d->wnids, &d->defects, &labels, err);
    if (status == ANX_OK) status = match_labels(d, &labels, err);
    if (status != ANX_OK) {
        anx_error_in_file(err, path);
        goto out;
    }
    const bool flat = !d->folders.images_below;
    d->dataset.by_wnid = labels.format->by_wnid;
    d->dataset.labels = keep(d, path);
    if (d->dataset.labels == NULL) status = out_of_memory(err);
    if (status == ANX_OK)
        status =
            set_layout(d, err, "%s with %s", flat ? d->container->flat : d->container->nested, labels.format->name);
    if (status == ANX_OK && labels.note != NULL) status = add_note(d, err, "%s", labels.note);
    if (status == ANX_OK && labels.in_order)
        status = add_note(d, err,
                          "The images' names have other numbers than 1 to %zu; the labels went to them in the order of "
                          "their names, line by line.",
                          labels.n);
    if (status == ANX_OK && d->n_hidden > 0)
        status = add_note(d, err, "%" PRId64 " hidden files without a label are left out.", d->n_hidden);
    if (status == ANX_OK && d->options->synsets != NULL && labels.format != &anx_label_devkit)
        status = add_note(d, err, "The list of synsets was not needed: these labels are no ILSVRC2012 ids.");
out:
    anx_labels_fini(&labels);
    return status;
}

/* ---- the dataset ---------------------------------------------------------------------------------------- */

/* Wnids where the model's classes have them, the folders' names, or else the numbers. */
static anx_status make_class_ids(impl *d, anx_error *err) {
    const int64_t n = d->n_classes;
    const char **ids = anx_arena_alloc(&d->listing.arena, (size_t)n, sizeof *ids);
    if (ids == NULL) return out_of_memory(err);
    const bool folders = d->dataset.labels == NULL && !d->dataset.by_wnid;
    for (int64_t i = 0; i < n; i++) {
        char number[32];
        snprintf(number, sizeof number, "%" PRId64, i);
        ids[i] = folders              ? d->folders.names[i]
                 : d->wnids.count > 0 ? keep(d, d->options->classes->wnids[i])
                                      : keep(d, number);
        if (ids[i] == NULL) return out_of_memory(err);
    }
    d->dataset.class_ids = ids;
    d->dataset.n_classes = n;
    return ANX_OK;
}

static anx_status make_samples(impl *d, anx_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < d->listing.n_files; i++) n += d->listing.files[i].label >= 0;
    if (n == 0) return anx_error_set(err, ANX_ERR_NOT_FOUND, "no images in it");
    anx_sample *samples = anx_arena_alloc(&d->listing.arena, n, sizeof *samples);
    d->listed = anx_arena_alloc(&d->listing.arena, n, sizeof *d->listed);
    if (samples == NULL || d->listed == NULL) return out_of_memory(err);
    n = 0;
    for (size_t i = 0; i < d->listing.n_files; i++) {
        const anx_listed *file = &d->listing.files[i];
        if (file->label < 0) continue;
        samples[n] = (anx_sample){.name = file->name, .label = file->label, .file_bytes = file->file_bytes};
        d->listed[n++] = file;
    }
    d->dataset.samples = samples;
    d->dataset.n_samples = (int64_t)n;
    return ANX_OK;
}

/* Counts the classes that have images, and says which have none. */
static anx_status count_classes(impl *d, anx_error *err) {
    enum { SHOWN = 20 };
    const int64_t n = d->dataset.n_classes;
    char list[1500] = "";
    size_t used = 0;
    int64_t absent = 0;
    bool *present = calloc((size_t)n, sizeof *present);
    if (present == NULL) return out_of_memory(err);
    for (int64_t i = 0; i < d->dataset.n_samples; i++) present[d->dataset.samples[i].label] = true;
    for (int64_t i = 0; i < n; i++) {
        char id[48];
        if (present[i] || ++absent > SHOWN) continue;
        used += (size_t)snprintf(
            list + used, sizeof list - used, "%s%s", absent > 1 ? ", " : "",
            anx_text_printable(d->dataset.class_ids[i], strlen(d->dataset.class_ids[i]), id, sizeof id));
    }
    free(present);
    d->dataset.n_classes_present = n - absent;
    if (absent == 0) return ANX_OK;
    char more[64] = "";
    if (absent > SHOWN) snprintf(more, sizeof more, " and %" PRId64 " more", absent - SHOWN);
    return add_note(d, err, "%" PRId64 " of %" PRId64 " classes have images. None: %s%s.", n - absent, n, list, more);
}

static void put_le64(uint8_t *to, uint64_t value) {
    for (int i = 0; i < 8; i++) to[i] = (uint8_t)(value >> 8 * i);
}

/* Over each sample's name, NUL, label and size (little-endian, 8 bytes each). */
static anx_status make_digest(impl *d, anx_error *err) {
    anx_sha256 *h = NULL;
    anx_status status = anx_sha256_create(&h, err);
    for (int64_t i = 0; status == ANX_OK && i < d->dataset.n_samples; i++) {
        const anx_sample *sample = &d->dataset.samples[i];
        uint8_t numbers[16];
        put_le64(numbers, (uint64_t)sample->label);
        put_le64(numbers + 8, sample->file_bytes);
        status = anx_sha256_update(h, sample->name, strlen(sample->name) + 1, err);
        if (status == ANX_OK) status = anx_sha256_update(h, numbers, sizeof numbers, err);
    }
    if (status == ANX_OK) status = anx_sha256_finish(h, &d->dataset.digest, err);
    anx_sha256_destroy(h);
    return status;
}

static anx_status make_dataset(impl *d, const char *path, anx_error *err) {
    d->dataset.root = keep(d, path);
    if (d->dataset.root == NULL) return out_of_memory(err);
    anx_status status = make_class_ids(d, err);
    if (status == ANX_OK) status = make_samples(d, err);
    if (status == ANX_OK) status = count_classes(d, err);
    if (status == ANX_OK && d->n_links > 0)
        status = add_note(d, err, "%" PRId64 " links and other entries of the tar that are no files are passed over.",
                          d->n_links);
    if (status == ANX_OK) status = make_digest(d, err);
    d->dataset.notes = d->notes;
    d->dataset.impl = d;
    return status;
}

static anx_status open_dataset(impl *d, const char *path, anx_error *err) {
    const char *labels = NULL;
    anx_status status = choose_container(d, path, err);
    if (status == ANX_OK) status = anx_listing_init(&d->listing, path, err);
    if (status == ANX_OK) status = anx_wnids_init(&d->wnids, d->options->classes, d->options->n_classes, err);
    if (status == ANX_OK) status = list_files(d, err);
    d->n_classes = d->options->n_classes > 0 ? d->options->n_classes : (int64_t)d->folders.n;
    if (status == ANX_OK) status = choose_labels(d, &labels, err);
    if (status == ANX_OK) status = labels != NULL ? label_by_file(d, labels, err) : label_by_folders(d, err);
    if (status == ANX_OK) status = make_dataset(d, path, err);
    return status;
}

/* What is needed while opening alone. */
static void drop_scaffold(impl *d) {
    anx_wnids_fini(&d->wnids);
    free(d->labels_found);
    d->labels_found = NULL;
    d->options = NULL;
}

static void destroy(impl *d) {
    drop_scaffold(d);
    if (d->fd >= 0) close(d->fd);
    anx_listing_fini(&d->listing);
    free(d);
}

anx_status anx_dataset_open(const char *path, const anx_dataset_options *options, anx_dataset **out, anx_error *err) {
    if (options->n_classes < 0 || (options->n_classes == 0 && options->labels != NULL))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             options->n_classes < 0 ? "a model has at least one class"
                                                    : "a label file's classes are those of a model");
    impl *d = calloc(1, sizeof *d);
    if (d == NULL) return out_of_memory(err);
    d->fd = -1;
    d->options = options;
    const anx_status status = open_dataset(d, path, err);
    if (status != ANX_OK) {
        anx_error_in_file(err, path);
        destroy(d);
        return status;
    }
    drop_scaffold(d);
    *out = &d->dataset;
    return ANX_OK;
}

void anx_dataset_close(anx_dataset *dataset) {
    if (dataset != NULL) destroy(dataset->impl);
}

/* ---- its files ------------------------------------------------------------------------------------------ */

static anx_status source_read(void *context, int64_t i, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    const impl *d = context;
    return d->container->read(d->listed[i], d->fd, d->dataset.root, bytes, n_bytes, err);
}

static void source_prefetch(void *context, int64_t i) {
    const impl *d = context;
    d->container->prefetch(d->listed[i], d->fd);
}

static const char *source_name(void *context, int64_t i) {
    const impl *d = context;
    return d->listed[i]->path;
}

anx_image_source anx_dataset_source(const anx_dataset *dataset) {
    return (anx_image_source){
        .read = source_read, .prefetch = source_prefetch, .name = source_name, .context = dataset->impl};
}

int64_t anx_dataset_label(void *dataset, int64_t file) {
    return ((const anx_dataset *)dataset)->samples[file].label;
}
