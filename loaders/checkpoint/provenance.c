/*
 * Sources, by what the releases themselves write: torch/serialization.py (save, _save, _legacy_save) and
 * caffe2/serialize/inline_container.h and .cc of PyTorch 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 1.10, 1.13, 2.0, 2.1, 2.6, 2.7
 * and 2.15.
 */
#include "loaders/checkpoint/provenance.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/bin_format.h"
#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/serialization_id.h"
#include "loaders/checkpoint/state_dict_json.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/zip_index.h"

static void note(anx_provenance *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(anx_provenance *p, const char *format, ...) {
    if (p->n_notes == ANX_MAX_PROVENANCE_NOTES) return;
    va_list args;
    va_start(args, format);
    vsnprintf(p->notes[p->n_notes++], sizeof p->notes[0], format, args);
    va_end(args);
}

static void write_by(anx_provenance *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_by(anx_provenance *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(p->writer, sizeof p->writer, format, args);
    va_end(args);
}

/* ---- zip archives: what is there ------------------------------------------------------------------------- */

typedef enum key_kind {
    KEYS_NONE,      /* no storages */
    KEYS_NUMBERED,  /* "0", "1", ..., each once */
    KEYS_ADDRESSES, /* other decimal numbers, large enough */
    KEYS_OTHER
} key_kind;

typedef enum id_state { ID_NONE, ID_SAME, ID_SAME_CHECKSUMS, ID_OTHER } id_state;

typedef struct zip_facts {
    const anx_zip_index *index;
    const char *folder; /* without its slash, not terminated */
    size_t folder_bytes;
    const anx_zip_entry *version, *byteorder, *format_version, *alignment, *id;
    size_t n_storages, n_strange; /* entries that torch.save never writes */
    key_kind keys;
    bool by_number, by_text; /* the storages' order; both for few of them */
    bool in_order;           /* data.pkl first, version (and the id) last, without gaps between */
    size_t n_unpadded, n_other_flags;
    uint64_t aligned_to;
    bool no_checksums; /* every CRC-32 is 0 */
    id_state id_says;
} zip_facts;

static const char *inside(const zip_facts *f, const anx_zip_entry *e) {
    return e->name + f->folder_bytes + 1;
}

static const char *key_of(const zip_facts *f, const anx_zip_entry *e) {
    const char *name = inside(f, e);
    return strncmp(name, "data/", 5) == 0 && name[5] != '\0' ? name + 5 : NULL;
}

static void sort_out(zip_facts *f) {
    const struct {
        const char *name;
        const anx_zip_entry **to;
    } known[] = {{"version", &f->version},
                 {"byteorder", &f->byteorder},
                 {".format_version", &f->format_version},
                 {".storage_alignment", &f->alignment},
                 {".data/serialization_id", &f->id}};
    for (size_t i = 0; i < f->index->count; i++) {
        const anx_zip_entry *e = &f->index->entries[i];
        const char *name = inside(f, e);
        bool found = strcmp(name, "data.pkl") == 0 || key_of(f, e) != NULL;
        for (size_t k = 0; k < sizeof known / sizeof known[0] && !found; k++) {
            found = strcmp(name, known[k].name) == 0;
            if (found) *known[k].to = e;
        }
        f->n_storages += key_of(f, e) != NULL;
        f->n_strange += !found;
    }
}

/* A number as Python writes it, of at most 20 digits. */
static bool is_decimal(const char *text) {
    const size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 20 && text[n] == '\0' && (n == 1 || text[0] != '0');
}

static int compare_decimal(const char *a, const char *b) {
    const size_t x = strlen(a), y = strlen(b);
    return x != y ? (x < y ? -1 : 1) : strcmp(a, b);
}

/* The address of something in memory, of which the lowest 64 kB hold nothing. */
static bool is_address(const char *key) {
    return is_decimal(key) && compare_decimal(key, "65536") >= 0;
}

/* Names differ, so that as many numbers as there are storages, all of them smaller than that, are 0, 1, 2, ... */
static void look_at_keys(zip_facts *f) {
    char limit[24];
    const char *before = NULL;
    bool numbered = true, addresses = true;
    snprintf(limit, sizeof limit, "%zu", f->n_storages);
    f->by_number = f->by_text = true;
    for (size_t i = 0; i < f->index->count; i++) {
        const char *key = key_of(f, &f->index->entries[i]);
        if (key == NULL) continue;
        if (!is_decimal(key) || compare_decimal(key, limit) >= 0) numbered = false;
        if (!is_address(key)) addresses = false;
        if (before != NULL && compare_decimal(before, key) > 0) f->by_number = false;
        if (before != NULL && strcmp(before, key) > 0) f->by_text = false;
        before = key;
    }
    f->keys = f->n_storages == 0 ? KEYS_NONE : numbered ? KEYS_NUMBERED : addresses ? KEYS_ADDRESSES : KEYS_OTHER;
}

static void look_at_order(zip_facts *f) {
    const anx_zip_index *z = f->index;
    const size_t last = z->count - 1 - (f->id != NULL);
    f->in_order = strcmp(inside(f, &z->entries[0]), "data.pkl") == 0 && f->version != NULL &&
                  f->version == &z->entries[last] && (f->id == NULL || f->id == &z->entries[z->count - 1]);
    uint64_t end = 0;
    for (size_t i = 0; i < z->count; i++) {
        if (z->entries[i].header_offset != end) f->in_order = false;
        end = z->entries[i].end_offset;
    }
}

/* ---- ... how it is laid out ------------------------------------------------------------------------------ */

static unsigned le16(const uint8_t *p) {
    return p[0] | (unsigned)p[1] << 8;
}

/* The local header's last extra field is "FB", whose Z's reach to the data. Its bounds were checked with the index. */
static bool is_padded(const zip_facts *f, const anx_zip_entry *e) {
    enum { local_bytes = 30, field_bytes = 4, padding_field = 0x4246 };
    const uint8_t *header = f->index->bytes + e->header_offset;
    const uint8_t *extra = header + local_bytes + le16(header + 26);
    size_t n = le16(header + 28);
    while (n >= field_bytes) {
        const size_t length = le16(extra + 2) + (size_t)field_bytes;
        if (length > n) return false;
        if (length == n) return le16(extra) == padding_field && e->data_offset % f->aligned_to == 0;
        extra += length;
        n -= length;
    }
    return false;
}

static void look_at_layout(zip_facts *f) {
    enum { flag_utf8 = 0x0800, flag_descriptor = 8, default_alignment = 64 };
    f->aligned_to = default_alignment;
    if (f->alignment != NULL && f->alignment->n_bytes > 0 && f->alignment->n_bytes < 10) {
        char text[10] = "";
        memcpy(text, f->index->bytes + f->alignment->data_offset, (size_t)f->alignment->n_bytes);
        if (is_decimal(text) && atol(text) > 0) f->aligned_to = (uint64_t)atol(text);
    }
    f->no_checksums = f->index->count > 0;
    for (size_t i = 0; i < f->index->count; i++) {
        const anx_zip_entry *e = &f->index->entries[i];
        const unsigned flags = e->n_bytes > 0 ? flag_utf8 | flag_descriptor : flag_utf8;
        f->n_unpadded += !is_padded(f, e);
        f->n_other_flags += e->flags != flags;
        if (e->crc != 0) f->no_checksums = false;
    }
}

/* What anx_zip_writer_end collects: the CRC-32, and before it what a record's own data could be taken for. */
static void add_checksums(anx_serialization_id *id, const uint8_t *data, const anx_zip_entry *e) {
    static const uint8_t descriptor[4] = {'P', 'K', 7, 8};
    uint32_t crc;
    if (e->n_bytes == 0) return;
    if (e->n_bytes >= 8 && memcmp(data, descriptor, sizeof descriptor) == 0) {
        memcpy(&crc, data + 4, sizeof crc);
        anx_serialization_id_add_crc(id, crc);
    }
    anx_serialization_id_add_crc(id, e->crc);
}

/* The id that PyTorch for Linux would give these records, and the one that is there. */
static anx_status look_at_id(zip_facts *f, anx_error *err) {
    enum { half = (ANX_SERIALIZATION_ID_SIZE - 1) / 2 };
    anx_serialization_id id = ANX_SERIALIZATION_ID_INIT;
    anx_status status = ANX_OK;
    if (f->id == NULL) return ANX_OK;
    for (size_t i = 0; i < f->index->count && status == ANX_OK; i++) {
        const anx_zip_entry *e = &f->index->entries[i];
        if (e == f->id) continue;
        status = anx_serialization_id_add_name(&id, inside(f, e), err);
        if (status == ANX_OK) add_checksums(&id, f->index->bytes + e->data_offset, e);
    }
    if (status == ANX_OK) {
        char digits[ANX_SERIALIZATION_ID_SIZE];
        const char *there = (const char *)f->index->bytes + f->id->data_offset;
        const bool whole = f->id->n_bytes == ANX_SERIALIZATION_ID_SIZE - 1;
        anx_serialization_id_format(&id, digits);
        f->id_says = whole && memcmp(there, digits, 2 * half) == 0             ? ID_SAME
                     : whole && memcmp(there + half, digits + half, half) == 0 ? ID_SAME_CHECKSUMS
                                                                               : ID_OTHER;
    }
    anx_serialization_id_fini(&id);
    return status;
}

/* ---- ... and what that means ----------------------------------------------------------------------------- */

/* What torch.save of some releases writes. */
typedef struct release {
    const char *name;
    const char *version; /* the record's text */
    bool marks;          /* .format_version and .storage_alignment */
    bool id;             /* .data/serialization_id, and byteorder unless that was asked to be left out */
    key_kind keys;
    bool by_number; /* the storages' order; by text otherwise */
} release;

static const release releases[] = {
    {"PyTorch 2.7 or newer", "3\n", true, true, KEYS_NUMBERED, true},
    {"PyTorch 2.1 to 2.6", "3\n", false, true, KEYS_NUMBERED, false},
    {"PyTorch 1.9 to 2.0", "3\n", false, false, KEYS_NUMBERED, false},
    {"PyTorch 1.6 to 1.8", "3\n", false, false, KEYS_ADDRESSES, false},
    {"PyTorch 1.5, asked for a zip archive", "2\n", false, false, KEYS_ADDRESSES, false},
    {"PyTorch 1.4, asked for a zip archive", "1\n", false, false, KEYS_ADDRESSES, false},
};

static bool has_text(const zip_facts *f, const anx_zip_entry *e, const char *text) {
    return e != NULL && e->n_bytes == strlen(text) && memcmp(f->index->bytes + e->data_offset, text, strlen(text)) == 0;
}

static bool is_of(const zip_facts *f, const release *r) {
    return has_text(f, f->version, r->version) && (f->format_version != NULL) == r->marks &&
           (f->alignment != NULL) == r->marks && (f->id != NULL) == r->id && (r->id || f->byteorder == NULL) &&
           (f->keys == KEYS_NONE || f->keys == r->keys) && (r->by_number ? f->by_number : f->by_text) &&
           f->n_strange == 0;
}

static void add_mark(const zip_facts *f, const char *name, const anx_zip_entry *e, anx_provenance *p) {
    if (e == NULL) return;
    anx_provenance_mark *mark = &p->marks[p->n_marks++];
    const uint8_t *bytes = f->index->bytes + e->data_offset;
    size_t n = (size_t)e->n_bytes;
    while (n > 0 && bytes[n - 1] == '\n') n--;
    mark->name = name;
    anx_text_printable(bytes, n, mark->text, sizeof mark->text);
}

static void note_records(const zip_facts *f, anx_provenance *p) {
    static const struct {
        const char *name, *since;
    } sinces[] = {{"byteorder", "2.1"},
                  {".data/serialization_id", "2.1"},
                  {".format_version", "2.7"},
                  {".storage_alignment", "2.7"}};
    char text[300] = "";
    add_mark(f, "version", f->version, p);
    add_mark(f, "byteorder", f->byteorder, p);
    add_mark(f, ".format_version", f->format_version, p);
    add_mark(f, ".storage_alignment", f->alignment, p);
    add_mark(f, ".data/serialization_id", f->id, p);
    for (int i = 0; i < p->n_marks; i++)
        for (size_t k = 0; k < sizeof sinces / sizeof sinces[0]; k++) {
            const size_t used = strlen(text);
            if (strcmp(p->marks[i].name, sinces[k].name) == 0)
                snprintf(text + used, sizeof text - used, "%s%s (since %s)", used > 0 ? ", " : "", sinces[k].name,
                         sinces[k].since);
        }
    if (text[0] != '\0')
        note(p, "has the records %s", text);
    else if (f->version != NULL)
        note(p, "has none of the records that came with PyTorch 2.1 and 2.7");
    else
        note(p, "has no record \"version\", which PyTorch always writes");
    if (f->n_strange > 0)
        note(p, "has %zu record%s that torch.save does not write", f->n_strange, f->n_strange == 1 ? "" : "s");
}

static void note_keys(const zip_facts *f, anx_provenance *p) {
    const char *order = f->by_number && f->by_text ? ""
                        : f->by_number             ? ", in the order of the numbers (since 2.7)"
                        : f->by_text               ? ", in the order of their text (before 2.7)"
                                                   : ", in no order";
    switch (f->keys) {
    case KEYS_NONE: break;
    case KEYS_NUMBERED:
        if (f->n_storages == 1)
            note(p, "its storage is named 0 (since 1.9)");
        else
            note(p, "storages are named 0 to %zu (since 1.9)%s", f->n_storages - 1, order);
        break;
    case KEYS_ADDRESSES: note(p, "storages are named by their addresses when saved (before 1.9)"); break;
    case KEYS_OTHER: note(p, "storages have names that PyTorch does not give them"); break;
    }
}

static void note_id(const zip_facts *f, anx_provenance *p) {
    switch (f->id_says) {
    case ID_NONE: break;
    case ID_SAME: note(p, "the serialization id is PyTorch's for these records, on Linux: unchanged since"); break;
    case ID_SAME_CHECKSUMS:
        note(p, "the serialization id fits the records' checksums: unchanged since; but not Linux's hash of their "
                "names: written on another system");
        break;
    case ID_OTHER:
        note(p, "the serialization id does not fit the records: changed or repacked after they were written");
        break;
    }
    if (f->no_checksums) note(p, "no CRC-32 was computed (torch.serialization.set_crc32_options(False))");
}

/* "PyTorch 1.6 to 1.8 or PyTorch 1.9 to 2.0" into buf; false: none. */
static bool list_releases(const zip_facts *f, char *buf, size_t size) {
    buf[0] = '\0';
    for (size_t i = sizeof releases / sizeof releases[0]; i-- > 0;) {
        const size_t used = strlen(buf);
        if (is_of(f, &releases[i])) snprintf(buf + used, size - used, "%s%s", used > 0 ? " or " : "", releases[i].name);
    }
    return buf[0] != '\0';
}

/* state_dict_alone: the archive holds a state_dict and nothing else, as anx-convert writes it. */
static void conclude_zip(const zip_facts *f, bool state_dict_alone, anx_provenance *p) {
    char names[200];
    const bool known = list_releases(f, names, sizeof names);
    const bool own_layout = f->n_unpadded == 0 && f->n_other_flags == 0 && f->in_order;
    const char *of_records = known ? names : "no version of PyTorch";
    p->by_pytorch = known && own_layout && f->id_says != ID_OTHER;
    if (f->n_unpadded > 0)
        note(p, "%zu of %zu records are not padded to a multiple of %llu bytes as PyTorch pads them", f->n_unpadded,
             f->index->count, (unsigned long long)f->aligned_to);
    if (f->n_other_flags > 0)
        note(p, "%zu of %zu records have other zip flags than PyTorch sets", f->n_other_flags, f->index->count);
    if (!f->in_order) note(p, "the records are not in PyTorch's order, or there is something between them");
    if (!own_layout)
        write_by(p, "another program than PyTorch, which lays zip archives out otherwise; the records are those of %s",
                 of_records);
    else if (!known)
        write_by(p, "unknown: PyTorch's zip layout, with records as no version of PyTorch writes them");
    else if (f->id_says == ID_OTHER)
        write_by(p, "another program than PyTorch, or changed since; the records are those of %s", of_records);
    else if (f->id_says == ID_SAME && f->format_version != NULL && !f->no_checksums && state_dict_alone)
        write_by(p, "%s, or anx-convert, which writes the same bytes", names);
    else
        write_by(p, "%s", names);
}

/* All entries are in one folder: the reader demands it. */
static anx_status look_at_zip(zip_facts *f, anx_error *err) {
    const anx_zip_entry *first = &f->index->entries[0];
    const char *slash = memchr(first->name, '/', first->name_bytes);
    if (slash == NULL) return anx_error_set(err, ANX_ERR_INTERNAL, "an archive without a folder was opened");
    f->folder = first->name;
    f->folder_bytes = (size_t)(slash - first->name);
    sort_out(f);
    look_at_keys(f);
    look_at_order(f);
    look_at_layout(f);
    return look_at_id(f, err);
}

static anx_status describe_zip(const anx_checkpoint *checkpoint, anx_provenance *p, anx_error *err) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    anx_zip_index *index = NULL;
    anx_status status = anx_zip_index_create(impl->map.bytes, impl->map.n_bytes, &index, err);
    if (status != ANX_OK) return status;
    zip_facts f = {.index = index};
    status = anx_zip_index_locate(index, err);
    if (status == ANX_OK) status = look_at_zip(&f, err);
    if (status == ANX_OK) {
        char folder[200];
        note_records(&f, p);
        note_keys(&f, p);
        note_id(&f, p);
        conclude_zip(&f, impl->root == impl->state_dict && impl->n_others == 0, p);
        if (f.version != NULL) snprintf(p->format_version, sizeof p->format_version, "%.31s", p->marks[0].text);
        anx_text_printable(f.folder, f.folder_bytes, folder, sizeof folder);
        if (strcmp(folder, "archive") != 0) note(p, "it was saved under the name '%s', that of its folder", folder);
    }
    anx_zip_index_destroy(index);
    return status;
}

/* ---- the other formats ----------------------------------------------------------------------------------- */

/* Pickle `number` (from 0) of those that stand one after another at the file's beginning; NULL if it cannot be read. */
static const anx_pickle_value *read_pickle(const anx_file_map *map, int number, anx_arena *arena) {
    enum { max_head_bytes = 1 << 16 };
    const uint8_t *at = map->bytes;
    size_t left = map->n_bytes < max_head_bytes ? map->n_bytes : max_head_bytes;
    anx_pickle_value *root = NULL;
    for (int i = 0; i <= number; i++) {
        const anx_pickle_input input = {.bytes = at, .n_bytes = left, .python2 = true};
        size_t used = 0;
        if (anx_pickle_run(&input, arena, &root, &used, NULL) != ANX_OK) return NULL;
        at += used;
        left -= used;
    }
    return root;
}

/* The stream begins with a magic number, the protocol's version and what the system was (torch._legacy_save). */
static anx_status describe_legacy(const anx_checkpoint *checkpoint, anx_provenance *p, anx_error *err) {
    const anx_file_map *map = &anx_checkpoint_impl_of(checkpoint)->map;
    anx_arena arena = {.limit_bytes = 1 << 20};
    (void)err;
    const anx_pickle_value *version = read_pickle(map, 1, &arena), *system = read_pickle(map, 2, &arena);
    if (version != NULL && version->kind == ANX_PICKLE_INT)
        snprintf(p->format_version, sizeof p->format_version, "%lld", (long long)version->u.integer);
    const anx_pickle_value *little =
        system != NULL && system->kind == ANX_PICKLE_DICT ? anx_pickle_dict_find(system, "little_endian") : NULL;
    if (little != NULL && little->kind == ANX_PICKLE_BOOL)
        note(p, "saved on a %s-endian system", little->u.boolean ? "little" : "big");
    write_by(p, "PyTorch before 1.6, or a newer one asked for the old format "
                "(_use_new_zipfile_serialization=False)");
    p->by_pytorch = true;
    anx_arena_fini(&arena);
    return ANX_OK;
}

static anx_status describe_tar(const anx_checkpoint *checkpoint, anx_provenance *p, anx_error *err) {
    (void)checkpoint, (void)err;
    write_by(p, "PyTorch 0.1, which saved tar archives");
    p->by_pytorch = true;
    return ANX_OK;
}

static anx_status describe_safetensors(const anx_checkpoint *checkpoint, anx_provenance *p, anx_error *err) {
    const anx_safetensors *file = anx_checkpoint_impl_of(checkpoint)->safetensors;
    const char *format = file != NULL ? anx_safetensors_metadata(file, "format") : NULL;
    char text[100];
    (void)err;
    if (file != NULL && anx_safetensors_metadata(file, anx_state_dict_pair) != NULL)
        write_by(p, "anx-convert, which leaves the pair \"%s\" in the file", anx_state_dict_pair);
    else if (format == NULL)
        write_by(p, "unknown: the file says nothing of it");
    else if (strcmp(format, "pt") == 0)
        write_by(p, "a program that saves for PyTorch, as safetensors.torch does (\"format\": \"pt\")");
    else
        write_by(p, "a program that calls its format '%s'",
                 anx_text_printable(format, strlen(format), text, sizeof text));
    return ANX_OK;
}

static anx_status describe_bin(const anx_checkpoint *checkpoint, anx_provenance *p, anx_error *err) {
    (void)checkpoint, (void)err; /* the reader takes this version alone */
    snprintf(p->format_version, sizeof p->format_version, "%d", (int)ANX_BIN_VERSION);
    write_by(p, "anx-convert, whose own format this is");
    return ANX_OK;
}

anx_status anx_checkpoint_provenance(const anx_checkpoint *checkpoint, anx_provenance *out, anx_error *err) {
    static const struct {
        const char *format;
        anx_status (*describe)(const anx_checkpoint *checkpoint, anx_provenance *p, anx_error *err);
    } rows[] = {
        {"PyTorch zip", describe_zip},     {"PyTorch legacy stream", describe_legacy},
        {"PyTorch 0.1 tar", describe_tar}, {"safetensors", describe_safetensors},
        {"anx bin", describe_bin},
    };
    memset(out, 0, sizeof *out);
    write_by(out, "unknown");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].format, checkpoint->format) == 0) return rows[i].describe(checkpoint, out, err);
    return ANX_OK;
}
