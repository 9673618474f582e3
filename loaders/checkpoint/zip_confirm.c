/* What libraries say of an archive's bytes: libzip of its directory, zlib of its records' CRC-32. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "loaders/checkpoint/crc.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/zip_index.h"

static anx_status in_entry(anx_status status, anx_error *err, const anx_zip_entry *e) {
    char text[200];
    anx_error_in_entry(err, anx_text_printable(e->name, e->name_bytes, text, sizeof text));
    return status;
}

static anx_status libzip_failed(zip_error_t *error, anx_error *err) {
    anx_error_set(err, ANX_ERR_FORMAT, "libzip refuses the archive: %s", zip_error_strerror(error));
    if (err != NULL) err->native_code = zip_error_code_zip(error);
    return ANX_ERR_FORMAT;
}

static anx_status confirm_entry(zip_t *archive, size_t i, const anx_zip_entry *e, anx_error *err) {
    zip_stat_t st;
    const zip_uint64_t wanted = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_CRC |
                                ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(archive, i, ZIP_FL_ENC_RAW, &st) != 0)
        return in_entry(libzip_failed(zip_get_error(archive), err), err, e);
    if ((st.valid & wanted) != wanted || strcmp(st.name, e->name) != 0 || st.size != e->n_bytes ||
        st.comp_size != e->packed_bytes || st.crc != e->crc || st.comp_method != e->method ||
        st.encryption_method != ZIP_EM_NONE)
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "libzip reads this entry otherwise"), err, e);
    return ANX_OK;
}

anx_status anx_zip_index_confirm(const anx_zip_index *index, anx_error *err) {
    zip_error_t error;
    zip_error_init(&error);
    anx_status status = ANX_OK;
    zip_t *archive = NULL;
    errno = 0;
    zip_source_t *source = zip_source_buffer_create(index->bytes, index->n_bytes, 0, &error);
    if (source != NULL) archive = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (archive == NULL) {
        status = libzip_failed(&error, err);
        zip_source_free(source); /* an opened archive owns it */
        goto out;
    }
    const zip_int64_t count = zip_get_num_entries(archive, 0);
    if (count < 0 || (uint64_t)count != index->count) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "libzip counts %lld entries, the directory has %zu",
                               (long long)count, index->count);
        goto out;
    }
    for (size_t i = 0; i < index->count && status == ANX_OK; i++)
        status = confirm_entry(archive, i, &index->entries[i], err);
out:
    /* Where its memory ran out, libzip may say so, or call a sound archive none. */
    if (status != ANX_OK && (errno == ENOMEM || zip_error_code_zip(&error) == ZIP_ER_MEMORY))
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    if (archive != NULL) zip_discard(archive);
    zip_error_fini(&error);
    return status;
}

/* ---- CRC-32 --------------------------------------------------------------------------------------------- */

anx_status anx_zip_index_check_crcs(anx_zip_index *index, int threads, bool accept_bad, size_t *n_bad, anx_error *err) {
    size_t bad = 0;
    anx_crc_block *blocks = calloc(index->count + 1, sizeof *blocks);
    if (blocks == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; i < index->count; i++)
        blocks[i] = (anx_crc_block){.data = index->bytes + index->entries[i].data_offset,
                                    .n_bytes = (size_t)index->entries[i].n_bytes};
    anx_status status = anx_crc_blocks(blocks, index->count, threads, err);
    for (size_t i = 0; i < index->count && status == ANX_OK; i++) {
        anx_zip_entry *e = &index->entries[i];
        e->crc_verified = blocks[i].crc == e->crc;
        if (e->crc_verified) continue;
        bad++;
        if (!accept_bad)
            status = in_entry(anx_error_set(err, ANX_ERR_FORMAT,
                                            "its CRC-32 is %08x, the directory says %08x: damaged, or written with "
                                            "torch.serialization.set_crc32_options(False); --accept-bad-crc reads "
                                            "such a file all the same",
                                            blocks[i].crc, e->crc),
                              err, e);
    }
    if (status == ANX_OK) *n_bad = bad;
    free(blocks);
    return status;
}
