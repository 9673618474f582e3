/*
 * Writing a zip archive laid out as PyTorch's PyTorchStreamWriter lays it out, byte for byte: stored records whose data
 * start at multiples of 64 bytes, so that a reader can map them; no times, no modes, no host.
 *
 * Sources: PyTorch's caffe2/serialize/inline_container.cc, and miniz as PyTorch configures it. The archive is written
 * in one pass: a record's CRC-32 and size stand behind its data, in a data descriptor. Beyond 4 GiB the zip64 fields
 * are those that miniz writes.
 */
#ifndef ANX_LOADERS_CHECKPOINT_ZIP_WRITER_H
#define ANX_LOADERS_CHECKPOINT_ZIP_WRITER_H

#include "loaders/file.h"

typedef struct anx_zip_writer anx_zip_writer;

/* Records are named FOLDER/NAME. `file` is borrowed and must stand at its beginning; the caller commits it after
   anx_zip_writer_finish. Errors: OUT_OF_MEMORY. */
anx_status anx_zip_writer_create(anx_file_writer *file, const char *folder, anx_zip_writer **out, anx_error *err);
void anx_zip_writer_destroy(anx_zip_writer *zip);

/* One record at a time: begin with its size, append exactly that many bytes in any pieces, end.
   Errors: those of anx_file_writer_write, OUT_OF_MEMORY, INTERNAL where the pieces do not add up. */
anx_status anx_zip_writer_begin(anx_zip_writer *zip, const char *name, uint64_t n_bytes, anx_error *err);
/* The same for a record whose CRC-32 is known: its bytes are not summed again. */
anx_status anx_zip_writer_begin_summed(anx_zip_writer *zip, const char *name, uint64_t n_bytes, uint32_t crc,
                                       anx_error *err);
anx_status anx_zip_writer_append(anx_zip_writer *zip, const void *data, size_t n_bytes, anx_error *err);
anx_status anx_zip_writer_end(anx_zip_writer *zip, anx_error *err);
/* The three in one. */
anx_status anx_zip_writer_add(anx_zip_writer *zip, const char *name, const void *data, size_t n_bytes, anx_error *err);

/* Writes `.data/serialization_id` as the last record, then the directory. */
anx_status anx_zip_writer_finish(anx_zip_writer *zip, anx_error *err);

#endif
