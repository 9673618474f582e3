#include "loaders/checkpoint/torch_tar_members.h"

#include <string.h>

#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"

enum {
    block_bytes = 512,
    name_bytes = 100,
    size_at = 124,
    size_bytes = 12,
    checksum_at = 148,
    checksum_bytes = 8,
    type_at = 156,
    prefix_at = 345,
    max_members = 1 << 16,
    max_end = 1 << 16 /* blocks of zeros: two, filled up to the size of a tape's record */
};

/* What a member's type makes of its bytes. */
typedef enum kind {
    IS_FILE,
    IS_PAX,    /* records about the next member, or all that follow */
    HAS_BYTES, /* passed over */
    HAS_NONE,  /* a link, a folder, a device */
    CHANGES    /* gives the next member another name, or its bytes another layout */
} kind;

typedef struct walk {
    const uint8_t *bytes;
    size_t n_bytes, at;
    anx_tar_member *members;
} walk;

static bool is_zero(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != 0) return false;
    return true;
}

/* Octal digits, spaces before and a space or NUL behind them allowed; sizes may be GNU's base-256 too. */
static bool read_number(const uint8_t *field, size_t n, uint64_t *out) {
    uint64_t value = 0;
    size_t i = 0;
    if (field[0] == 0x80) {
        for (i = 1; i < n; i++) {
            if (value >> 56 != 0) return false;
            value = value << 8 | field[i];
        }
        *out = value;
        return true;
    }
    while (i < n && field[i] == ' ') i++;
    const size_t first = i;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) {
        if (value >> 61 != 0) return false;
        value = value << 3 | (uint64_t)(field[i] - '0');
    }
    if (i == first) return false;
    for (; i < n; i++)
        if (field[i] != ' ' && field[i] != 0) return false;
    *out = value;
    return true;
}

/* The sum of the header's bytes, the field itself counted as spaces. */
static bool is_header(const uint8_t *block) {
    uint64_t wanted, sum = 0;
    if (!read_number(block + checksum_at, checksum_bytes, &wanted)) return false;
    for (int i = 0; i < block_bytes; i++) sum += i >= checksum_at && i < checksum_at + checksum_bytes ? ' ' : block[i];
    return sum == wanted;
}

static size_t name_length(const uint8_t *header) {
    return strnlen((const char *)header, name_bytes);
}

/* As Python's tarfile takes them, by which PyTorch reads these archives. */
static kind kind_of(const uint8_t *header) {
    const size_t n = name_length(header);
    switch ((char)header[type_at]) {
    case '\0': return n > 0 && header[n - 1] == '/' ? HAS_NONE : IS_FILE; /* a folder, before POSIX */
    case '0':
    case '7': return IS_FILE;
    case 'x':
    case 'g':
    case 'X': return IS_PAX;
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6': return HAS_NONE;
    case 'L':
    case 'S': return CHANGES;
    default: return HAS_BYTES;
    }
}

/* One of ours, in no folder. */
static anx_tar_member *known(anx_tar_member *members, const uint8_t *header) {
    char name[name_bytes + 1] = "";
    memcpy(name, header, name_length(header));
    const char *plain = strncmp(name, "./", 2) == 0 ? name + 2 : name;
    for (int i = 0; i < ANX_TORCH_TAR_MEMBERS && header[prefix_at] == 0; i++)
        if (strcmp(members[i].name, plain) == 0) return &members[i];
    return NULL;
}

static anx_status in_member(const walk *w, anx_status status, anx_error *err) {
    const uint8_t *header = w->bytes + w->at;
    char text[200];
    anx_error_in_entry(err, anx_text_printable(header, name_length(header), text, sizeof text));
    anx_error_at_offset(err, w->at);
    return status;
}

/* ---- pax headers ---------------------------------------------------------------------------------------- */

/* The length of the record "LENGTH KEY=VALUE\n" that begins here, and its key; 0: it is none. */
static size_t read_record(const uint8_t *record, size_t n, const uint8_t **key, size_t *key_bytes) {
    size_t length = 0, i = 0;
    while (i < n && i < 9 && record[i] >= '0' && record[i] <= '9') length = length * 10 + (size_t)(record[i++] - '0');
    if (i == 0 || i == n || record[i] != ' ' || length > n || length < i + 3 || record[length - 1] != '\n') return 0;
    *key = record + i + 1;
    const uint8_t *end = memchr(*key, '=', length - i - 2);
    if (end == NULL) return 0;
    *key_bytes = (size_t)(end - *key);
    return length;
}

/* Times and owners change nothing; a name, a size or holes of the next member do, and PyTorch gave none. */
static anx_status check_pax(const uint8_t *records, size_t n, anx_error *err) {
    static const char *const changing[] = {"path", "size", "GNU.sparse."};
    while (n > 0) {
        const uint8_t *key = NULL;
        size_t key_bytes = 0;
        const size_t length = read_record(records, n, &key, &key_bytes);
        if (length == 0) return anx_error_set(err, ANX_ERR_FORMAT, "its pax records are damaged");
        for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++) {
            const size_t wanted = strlen(changing[i]);
            const bool begins = changing[i][wanted - 1] == '.';
            char text[100];
            if ((begins ? key_bytes >= wanted : key_bytes == wanted) && memcmp(key, changing[i], wanted) == 0)
                return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                                     "it sets '%s' of the members after it, as PyTorch did not",
                                     anx_text_printable(key, key_bytes, text, sizeof text));
        }
        records += length;
        n -= length;
    }
    return ANX_OK;
}

/* ---- members -------------------------------------------------------------------------------------------- */

static anx_status add_member(walk *w, kind k, size_t data, size_t n_bytes, anx_error *err) {
    anx_tar_member *member = known(w->members, w->bytes + w->at);
    if (member == NULL) return ANX_OK;
    if (k != IS_FILE) return anx_error_set(err, ANX_ERR_FORMAT, "it is not a file");
    if (member->found) return anx_error_set(err, ANX_ERR_FORMAT, "it is there twice");
    member->found = true;
    member->offset = data;
    member->n_bytes = n_bytes;
    return ANX_OK;
}

static anx_status take_member(walk *w, uint64_t size, anx_error *err) {
    const uint8_t *header = w->bytes + w->at;
    const size_t data = w->at + block_bytes;
    const kind k = kind_of(header);
    if (k == CHANGES)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "a member of type '%c', which PyTorch did not write",
                             header[type_at]);
    if (k == HAS_NONE && size > 0) /* readers differ about whether these bytes are there */
        return anx_error_set(err, ANX_ERR_FORMAT, "a link, folder or device of %llu bytes", (unsigned long long)size);
    if (size > w->n_bytes - data)
        return anx_error_set(err, ANX_ERR_FORMAT, "%llu bytes, and %zu are left in the file: truncated?",
                             (unsigned long long)size, w->n_bytes - data);
    if (k == IS_PAX) return check_pax(w->bytes + data, (size_t)size, err);
    return add_member(w, k, data, (size_t)size, err);
}

/* The member at hand; goes on to the next. */
static anx_status read_member(walk *w, anx_error *err) {
    uint64_t size;
    if (w->n_bytes - w->at < block_bytes || !is_header(w->bytes + w->at)) {
        anx_error_set(err, ANX_ERR_FORMAT, "a tar header whose checksum is wrong: damaged or truncated?");
        anx_error_at_offset(err, w->at);
        return ANX_ERR_FORMAT;
    }
    if (!read_number(w->bytes + w->at + size_at, size_bytes, &size))
        return in_member(w, anx_error_set(err, ANX_ERR_FORMAT, "its size is no number"), err);
    anx_status status = take_member(w, size, err);
    if (status != ANX_OK) return in_member(w, status, err);
    const size_t data = w->at + block_bytes;
    size_t padded;
    w->at = anx_checked_align_size((size_t)size, block_bytes, &padded) && padded <= w->n_bytes - data ? data + padded
                                                                                                      : w->n_bytes;
    return ANX_OK;
}

anx_status anx_torch_tar_find(const uint8_t *bytes, size_t n_bytes, anx_tar_member members[ANX_TORCH_TAR_MEMBERS],
                              anx_error *err) {
    static const char *const names[ANX_TORCH_TAR_MEMBERS] = {"sys_info", "pickle", "tensors", "storages"};
    walk w = {.bytes = bytes, .n_bytes = n_bytes, .members = members};
    for (int i = 0; i < ANX_TORCH_TAR_MEMBERS; i++) members[i] = (anx_tar_member){.name = names[i]};
    for (size_t n = 0; !is_zero(bytes + w.at, n_bytes - w.at < block_bytes ? n_bytes - w.at : block_bytes); n++) {
        if (n == max_members) return anx_error_set(err, ANX_ERR_LIMIT, "more than %d members", (int)max_members);
        anx_status status = read_member(&w, err);
        if (status != ANX_OK) return status;
    }
    if (n_bytes - w.at > max_end || !is_zero(bytes + w.at, n_bytes - w.at)) {
        anx_error_set(err, ANX_ERR_FORMAT, "something follows the end of the tar archive");
        anx_error_at_offset(err, w.at);
        return ANX_ERR_FORMAT;
    }
    for (int i = 1; i < ANX_TORCH_TAR_MEMBERS; i++) /* PyTorch's reader does not ask for sys_info either */
        if (!members[i].found)
            return anx_error_set(err, ANX_ERR_FORMAT,
                                 "no member '%s' in the tar archive: not a checkpoint of PyTorch 0.1, or truncated",
                                 members[i].name);
    return ANX_OK;
}
