#include "loaders/dataset/class_folders.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/text.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* A copy of the first part of a name, with the slash behind it if wanted; NULL: out of memory. */
static char *first_part(anx_listing *listing, const char *name, bool slash) {
    const size_t n = strcspn(name, "/");
    char *part = anx_arena_alloc(&listing->arena, n + 2, 1);
    if (part == NULL) return NULL;
    memcpy(part, name, n);
    if (slash) part[n] = '/';
    return part;
}

/* ---- the folder around everything ------------------------------------------------------------------------ */

static const char *first_image(const anx_listing *l) {
    for (size_t i = 0; i < l->n_files; i++)
        if (l->files[i].is_image) return l->files[i].name;
    return NULL;
}

/* Whether all images and folders lie in `outer`; the folders that lead to it may be there. */
static bool holds_everything(const anx_listing *l, const char *outer) {
    for (size_t i = 0; i < l->n_files; i++)
        if (l->files[i].is_image && anx_below(l->files[i].name, outer) == NULL) return false;
    for (size_t i = 0; i < l->n_folders; i++) {
        const char *folder = l->folders[i];
        const size_t n = strlen(folder);
        const bool leads_to_it = strncmp(outer, folder, n) == 0 && outer[n] == '/';
        if (!leads_to_it && anx_below(folder, outer) == NULL) return false;
    }
    return true;
}

enum { MAX_OUTER = 8 }; /* folders in folders; each takes a look at all names */

/* Goes down as long as there is one folder alone. */
static anx_status find_outer(anx_listing *l, const anx_wnids *wnids, const char **outer, anx_error *err) {
    const char *image = first_image(l);
    *outer = "";
    for (int depth = 0; image != NULL && depth < MAX_OUTER; depth++) {
        const char *rest = anx_below(image, *outer), *slash = strchr(rest, '/');
        if (slash == NULL) break;
        const char *part = first_part(l, rest, false);
        const char *longer = anx_arena_text(&l->arena, image, (size_t)(slash + 1 - image));
        if (part == NULL || longer == NULL) return out_of_memory(err);
        if (anx_wnids_find(wnids, part) >= 0 || !holds_everything(l, longer)) break;
        *outer = longer;
    }
    return ANX_OK;
}

/* ---- finding -------------------------------------------------------------------------------------------- */

static anx_status add_name(anx_listing *l, anx_class_folders *c, const char *name, anx_error *err) {
    if (name == NULL || *name == '\0') return ANX_OK;
    /* Files come sorted by class, folders mostly: so most of those that occur again are not even copied. */
    const size_t n = strcspn(name, "/");
    if (c->n > 0 && strncmp(c->names[c->n - 1], name, n) == 0 && c->names[c->n - 1][n] == '\0') return ANX_OK;
    c->names[c->n] = first_part(l, name, false);
    return c->names[c->n++] != NULL ? ANX_OK : out_of_memory(err);
}

static anx_status collect(anx_listing *l, anx_class_folders *c, anx_error *err) {
    anx_status status = ANX_OK;
    c->names = anx_arena_alloc(&l->arena, l->n_folders + l->n_files, sizeof *c->names);
    if (c->names == NULL) return out_of_memory(err);
    for (size_t i = 0; status == ANX_OK && i < l->n_folders; i++)
        status = add_name(l, c, anx_below(l->folders[i], c->outer), err);
    for (size_t i = 0; status == ANX_OK && i < l->n_files; i++) {
        const char *name = anx_below(l->files[i].name, c->outer);
        const bool below = name != NULL && strchr(name, '/') != NULL;
        if (below) status = add_name(l, c, name, err);
        if (l->files[i].is_image) *(below ? &c->images_below : &c->images_above) = true;
    }
    return status == ANX_OK ? anx_names_sort(c->names, &c->n, err) : status;
}

anx_status anx_class_folders_find(anx_listing *l, const anx_wnids *wnids, bool may_have_outer, anx_class_folders *out,
                                  anx_error *err) {
    *out = (anx_class_folders){.outer = ""};
    anx_status status = may_have_outer ? find_outer(l, wnids, &out->outer, err) : ANX_OK;
    if (status == ANX_OK) status = anx_listing_sort(l, out->outer, err);
    if (status == ANX_OK) status = collect(l, out, err);
    for (size_t i = 0; status == ANX_OK && i < out->n; i++) out->n_known += anx_wnids_find(wnids, out->names[i]) >= 0;
    return status;
}

/* ---- labelling ------------------------------------------------------------------------------------------ */

static void add_wrong_count(const anx_class_folders *c, int64_t n_classes, anx_defects *defects) {
    char list[400] = "", shown[80];
    size_t used = 0;
    for (size_t i = 0; i < c->n && i < 4; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s'%s'", i > 0 ? ", " : "",
                                 anx_text_printable(c->names[i], strlen(c->names[i]), shown, sizeof shown));
    anx_defects_add(defects, "%zu folder%s (%s%s), but the model has %" PRId64 " classes", c->n, c->n == 1 ? "" : "s",
                    list, c->n > 4 ? ", ..." : "", n_classes);
    anx_defects_hint(defects, "Where the classes' folders lie in another one, name that.");
}

static void add_unknown(const char *name, const anx_wnids *wnids, anx_defects *defects) {
    char shown[400];
    anx_defects_add(defects, "folder '%s': not the %s of a class",
                    anx_text_printable(name, strlen(name), shown, sizeof shown), anx_wnids_word(wnids));
}

static void add_empty(const char *name, anx_defects *defects) {
    char shown[400];
    anx_defects_add(defects, "folder '%s': no image in it",
                    anx_text_printable(name, strlen(name), shown, sizeof shown));
    anx_defects_hint(defects, "Images are files whose names end in " ANX_IMAGE_EXTENSIONS ", in any case.");
}

void anx_class_folders_label(const anx_class_folders *c, anx_listing *l, const anx_wnids *wnids, int64_t n_classes,
                             anx_defects *defects) {
    if (c->n_known == 0 && (uint64_t)n_classes != c->n) add_wrong_count(c, n_classes, defects);
    size_t at = 0; /* files and folders are in the same order */
    for (size_t i = 0; i < c->n; i++) {
        const size_t n = strlen(c->names[i]);
        const int64_t label = c->n_known == 0 ? (int64_t)i : anx_wnids_find(wnids, c->names[i]);
        size_t images = 0;
        for (; at < l->n_files; at++) {
            anx_listed *file = &l->files[at];
            const char *name = anx_below(file->name, c->outer);
            const bool below = name != NULL && strchr(name, '/') != NULL;
            if (below && (strncmp(name, c->names[i], n) != 0 || name[n] != '/')) break;
            if (!below || !file->is_image) continue;
            file->label = label;
            images++;
        }
        if (label < 0)
            add_unknown(c->names[i], wnids, defects);
        else if (images == 0)
            add_empty(c->names[i], defects);
    }
}
