#include "src/backend/exact/layout.h"

#include <string.h>

#include "src/base/checked.h"

bool anx_exact_layout_init(anx_exact_layout *layout, const anx_extent *extent, int64_t border, bool narrow) {
    anx_exact_layout l = {.channels = extent->dim[0], .height = 1, .width = 1, .blocks = 1};
    if (extent->rank == 1) {
        l.block = l.channels;
    } else {
        l.height = extent->dim[1];
        l.width = extent->dim[2];
        l.border = border;
        l.block = narrow && l.channels < ANX_EXACT_BLOCK ? l.channels : ANX_EXACT_BLOCK;
        l.blocks = l.channels / l.block + (l.channels % l.block != 0);
    }
    int64_t columns;
    if (!anx_checked_add_i64(l.width, 2 * l.border, &columns) || !anx_checked_mul_i64(columns, l.block, &l.row_elems) ||
        !anx_checked_mul_i64(l.height, l.row_elems, &l.block_elems) ||
        !anx_checked_mul_i64(l.blocks, l.block_elems, &l.image_elems))
        return false;
    *layout = l;
    return true;
}

/* One row of one channel block from `planes`, whose channels lie plane elements apart. */
static void import_row(const anx_exact_layout *l, const anx_tensor *host, int64_t first, int64_t plane, int64_t count,
                       float *row) {
    const int64_t block = l->block;
    memset(row, 0, (size_t)(l->border * block) * sizeof *row);
    row += l->border * block;
    for (int64_t c = 0; c < block; c++) {
        const int64_t from = first + c * plane;
        if (c >= count)
            for (int64_t w = 0; w < l->width; w++) row[w * block + c] = 0.0f;
        else if (host->dtype == ANX_F64)
            for (int64_t w = 0; w < l->width; w++) row[w * block + c] = (float)((const double *)host->data)[from + w];
        else
            for (int64_t w = 0; w < l->width; w++) row[w * block + c] = ((const float *)host->data)[from + w];
    }
    memset(row + l->width * block, 0, (size_t)(l->border * block) * sizeof *row);
}

static void export_row(const anx_exact_layout *l, const float *row, int64_t first, int64_t plane, int64_t count,
                       anx_tensor *host) {
    row += l->border * l->block;
    for (int64_t c = 0; c < count; c++) {
        const int64_t to = first + c * plane;
        if (host->dtype == ANX_F64)
            for (int64_t w = 0; w < l->width; w++) ((double *)host->data)[to + w] = (double)row[w * l->block + c];
        else
            for (int64_t w = 0; w < l->width; w++) ((float *)host->data)[to + w] = row[w * l->block + c];
    }
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Calls import_row or export_row for every row of every block of every image. */
static void each_row(const anx_exact_layout *l, int64_t batch, anx_tensor *host, float *data, bool import,
                     int threads) {
    const int64_t plane = l->height * l->width, slices = batch * l->blocks;
#pragma omp parallel for num_threads(threads) schedule(static) if (slices * l->block_elems > 1 << 16)
    for (int64_t slice = 0; slice < slices; slice++) {
        const int64_t n = slice / l->blocks, b = slice % l->blocks;
        const int64_t count = min_i64(l->block, l->channels - b * l->block);
        for (int64_t h = 0; h < l->height; h++) {
            const int64_t first = (n * l->channels + b * l->block) * plane + h * l->width;
            float *row = data + slice * l->block_elems + h * l->row_elems;
            if (import)
                import_row(l, host, first, plane, count, row);
            else
                export_row(l, row, first, plane, count, host);
        }
    }
}

static bool is_plain(const anx_exact_layout *l, const anx_tensor *host) {
    return host->dtype == ANX_F32 && l->height == 1 && l->width == 1 && l->border == 0 && l->blocks == 1 &&
           l->block == l->channels;
}

void anx_exact_layout_import(const anx_exact_layout *layout, int64_t batch, const anx_tensor *host, float *data,
                             int threads) {
    anx_tensor view = *host; /* each_row writes to it when exporting alone */
    if (is_plain(layout, host))
        memcpy(data, host->data, (size_t)(batch * layout->image_elems) * sizeof *data);
    else
        each_row(layout, batch, &view, data, true, threads);
}

void anx_exact_layout_export(const anx_exact_layout *layout, int64_t batch, const float *data, anx_tensor *host,
                             int threads) {
    if (is_plain(layout, host))
        memcpy(host->data, data, (size_t)(batch * layout->image_elems) * sizeof *data);
    else
        each_row(layout, batch, host, (float *)(uintptr_t)data, false, threads);
}
