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
    max_members = 1 << 16
};

static bool is_zero(const uint8_t *block) {
    for (int i = 0; i < block_bytes; i++)
        if (block[i] != 0) return false;
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

static anx_tar_member *known(anx_tar_member *members, const uint8_t *header) {
    char name[name_bytes + 1];
    memcpy(name, header, name_bytes);
    name[name_bytes] = '\0';
    const char *plain = strncmp(name, "./", 2) == 0 ? name + 2 : name;
    const char type = (char)header[type_at];
    for (int i = 0; i < ANX_TORCH_TAR_MEMBERS && (type == '0' || type == '\0'); i++)
        if (strcmp(members[i].name, plain) == 0) return &members[i];
    return NULL;
}

static anx_status in_member(anx_status status, const uint8_t *header, uint64_t at, anx_error *err) {
    char text[200];
    anx_error_in_entry(err, anx_text_printable(header, strnlen((const char *)header, name_bytes), text, sizeof text));
    anx_error_at_offset(err, at);
    return status;
}

/* One header at `at`; *next is where the next one is. */
static anx_status read_member(const uint8_t *bytes, size_t n_bytes, size_t at, anx_tar_member *members, size_t *next,
                              anx_error *err) {
    const uint8_t *header = bytes + at;
    uint64_t size;
    if (!is_header(header)) {
        anx_error_set(err, ANX_ERR_FORMAT, "a tar header whose checksum is wrong: damaged or truncated?");
        anx_error_at_offset(err, at);
        return ANX_ERR_FORMAT;
    }
    if (!read_number(header + size_at, size_bytes, &size))
        return in_member(anx_error_set(err, ANX_ERR_FORMAT, "its size is no number"), header, at, err);
    const size_t data = at + block_bytes;
    if (size > n_bytes - data)
        return in_member(anx_error_set(err, ANX_ERR_FORMAT, "%llu bytes, and %zu are left in the file: truncated?",
                                       (unsigned long long)size, n_bytes - data),
                         header, at, err);
    anx_tar_member *member = known(members, header);
    if (member != NULL && member->found)
        return in_member(anx_error_set(err, ANX_ERR_FORMAT, "it is there twice"), header, at, err);
    if (member != NULL) {
        member->found = true;
        member->offset = data;
        member->n_bytes = (size_t)size;
    }
    size_t padded;
    *next = anx_checked_align_size((size_t)size, block_bytes, &padded) && padded <= n_bytes - data ? data + padded
                                                                                                   : n_bytes;
    return ANX_OK;
}

anx_status anx_torch_tar_find(const uint8_t *bytes, size_t n_bytes, anx_tar_member members[ANX_TORCH_TAR_MEMBERS],
                              anx_error *err) {
    static const char *const names[ANX_TORCH_TAR_MEMBERS] = {"sys_info", "pickle", "tensors", "storages"};
    size_t at = 0, n = 0;
    for (int i = 0; i < ANX_TORCH_TAR_MEMBERS; i++) members[i] = (anx_tar_member){.name = names[i]};
    while (n_bytes - at >= block_bytes && !is_zero(bytes + at)) {
        if (n++ == max_members) return anx_error_set(err, ANX_ERR_LIMIT, "more than %d members", (int)max_members);
        anx_status status = read_member(bytes, n_bytes, at, members, &at, err);
        if (status != ANX_OK) return status;
    }
    for (int i = 1; i < ANX_TORCH_TAR_MEMBERS; i++) /* PyTorch's reader does not ask for sys_info either */
        if (!members[i].found)
            return anx_error_set(err, ANX_ERR_FORMAT,
                                 "no member '%s' in the tar archive: not a checkpoint of PyTorch 0.1, or truncated",
                                 members[i].name);
    return ANX_OK;
}
