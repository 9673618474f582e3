/* The way back: part of kernels_body.h, which defines what is used here. */

/* ---- convolution: the gradient by the input ------------------------------------------------------------- */

/* Taps first .. last-1 of a kernel whose tap k lies at start - k*dilation, as far as that is in 0 .. extent-1. */
ALWAYS_INLINE void taps_behind(int64_t start, int64_t dilation, int64_t taps, int64_t extent, int64_t *first,
                               int64_t *last) {
    *first = start >= extent ? ceil_div(start - extent + 1, dilation) : 0;
    *last = start < 0 ? 0 : start / dilation + 1;
    if (*last > taps) *last = taps;
    if (*first > *last) *first = *last;
}

/* Input columns w0 .. w0+columns-1 of a row, with the taps first .. last-1 of each row of the kernel. */
static void conv_dx_columns(const conv_tile *row, const anx_exact_conv_back *back, int64_t blocks, int64_t w0,
                            int64_t columns, int64_t first, int64_t last) {
    const anx_conv2d_params *p = &back->forward->p;
    conv_tile t = *row;
    t.x += (w0 + p->pad_w + back->dy.border) * BLOCK + first * t.x_tap;
    t.y += (back->dx.border + w0) * BLOCK;
    t.w += first * t.w_tap;
    t.taps = last - first;
    void (*run)(const conv_tile *, int64_t) = blocks == TILE_BLOCKS ? conv_columns_16 : conv_columns_block;
    for (int64_t done = 0; done < columns;) {
        const int64_t now = anx_exact_part(columns, done, TILE_COLUMNS);
        run(&t, now);
        t.x += now * BLOCK;
        t.y += now * BLOCK;
        done += now;
    }
}

static void conv_dx_row(const conv_tile *row, const anx_exact_conv_back *back, int64_t blocks) {
    const anx_conv2d_params *p = &back->forward->p;
    const int64_t width = back->dx.width;
    if (!back->skip_padding) {
        conv_dx_columns(row, back, blocks, 0, width, 0, p->kernel_w);
        return;
    }
    for (int64_t w = 0; w < width;) {
        int64_t first, last, columns = 1, next_first, next_last;
        taps_behind(w + p->pad_w, p->dilation_w, p->kernel_w, back->dy.width, &first, &last);
        for (; w + columns < width; columns++) {
            taps_behind(w + columns + p->pad_w, p->dilation_w, p->kernel_w, back->dy.width, &next_first, &next_last);
            if (next_first != first || next_last != last) break;
        }
        conv_dx_columns(row, back, blocks, w, columns, first, last);
        w += columns;
    }
}

/* TILE_BLOCKS blocks of input channels, or one. */
static void conv_dx_tile_rows(const anx_exact_conv_back *back, const float *dy, float *dx, int64_t block0,
                              int64_t blocks, int64_t h0, int64_t h1) {
    const anx_conv2d_params *p = &back->forward->p;
    const int64_t kernel = (int64_t)p->kernel_h * p->kernel_w, channels = back->dy.channels / p->groups;
    const int64_t chains = ceil_div(channels, BLOCK), group = block0 * BLOCK / back->forward->channels;
    if (p->groups > 1) dy += group * (channels / BLOCK) * back->dy.block_elems;
    dx += block0 * back->dx.block_elems;
    conv_tile t = {.x_row = -p->dilation_h * back->dy.row_elems,
                   .x_tap = -(int64_t)p->dilation_w * BLOCK,
                   .step = BLOCK,
                   .w_block = kernel * channels * BLOCK,
                   .y_block = back->dx.block_elems};
    for (int64_t chain = 0; chain < chains; chain++) {
        t.channels = chain + 1 < chains ? BLOCK : channels - chain * BLOCK;
        t.w_tap = t.channels * BLOCK;
        t.w_row = p->kernel_w * t.w_tap;
        t.first = chain == 0;
        const float *w = back->packed + block0 * t.w_block + chain * kernel * BLOCK * BLOCK;
        for (int64_t h = h0; h < h1; h++) {
            int64_t first, last;
            taps_behind(h + p->pad_h, p->dilation_h, p->kernel_h, back->dy.height, &first, &last);
            t.rows = last - first;
            t.x = dy + chain * back->dy.block_elems + (h + p->pad_h - first * p->dilation_h) * back->dy.row_elems;
            t.w = w + first * t.w_row;
            t.y = dx + h * back->dx.row_elems;
            conv_dx_row(&t, back, blocks);
        }
    }
}

static void conv_dx_rows(const anx_exact_conv_back *back, const float *dy, float *dx, int64_t block0, int64_t blocks,
                         int64_t h0, int64_t h1) {
    while (blocks > 0) {
        const int64_t now = blocks >= TILE_BLOCKS ? TILE_BLOCKS : 1;
        conv_dx_tile_rows(back, dy, dx, block0, now, h0, h1);
        block0 += now;
        blocks -= now;
    }
}

/* The index of the output whose tap at `place` it is; -1 if none is. */
ALWAYS_INLINE int64_t output_at(int64_t place, int64_t stride, int64_t extent) {
    return place >= 0 && place % stride == 0 && place / stride < extent ? place / stride : -1;
}

/* The part of gemm_convolution's terms that starts where `left` of them are left. */
ALWAYS_INLINE int64_t gemm_part(int64_t left) {
    enum { PART = 384 };
    return left >= 2 * PART ? PART : left > PART ? (left + 1) / 2 : left;
}

/* What one element of an input's gradient is summed from: the output channels of its group, and its place there. */
typedef struct conv_dx_sum {
    const float *dy, *weight; /* of output channel 0 of the group; weight: of this input channel */
    int64_t oc0, channels;    /* first output channel of the group, and how many there are */
    int64_t h, w;
} conv_dx_sum;

/* Carries a chain on over output channels first .. last-1 of one tap. */
static float conv_dx_tap(const anx_exact_conv_back *back, const conv_dx_sum *s, int64_t kh, int64_t kw, int64_t first,
                         int64_t last, float chain) {
    const anx_conv2d_params *p = &back->forward->p;
    const int64_t oh = output_at(s->h + p->pad_h - kh * p->dilation_h, p->stride_h, back->dy.height);
    const int64_t ow = output_at(s->w + p->pad_w - kw * p->dilation_w, p->stride_w, back->dy.width);
    if (oh < 0 || ow < 0) return chain;
    const int64_t taps = (int64_t)p->kernel_h * p->kernel_w, filter = back->forward->channels * taps;
    const float *dy = s->dy + oh * back->dy.row_elems + (back->dy.border + ow) * back->dy.block;
    const float *w = s->weight + kh * p->kernel_w + kw;
    int64_t channel = channel_offset(&back->dy, s->oc0 + first), in_block = (s->oc0 + first) % back->dy.block;
    for (int64_t oc = first; oc < last; oc++) {
        chain = __builtin_fmaf(dy[channel], w[oc * filter], chain);
        channel = next_channel(&back->dy, channel, &in_block);
    }
    return chain;
}

static float conv_dx_blocks(const anx_exact_conv_back *back, const conv_dx_sum *s, int64_t block) {
    const anx_conv2d_params *p = &back->forward->p;
    float sum = 0.0f;
    for (int64_t first = 0; first < s->channels; first += block) {
        const int64_t last = first + block < s->channels ? first + block : s->channels;
        float chain = 0.0f;
        for (int64_t kh = 0; kh < p->kernel_h; kh++)
            for (int64_t kw = 0; kw < p->kernel_w; kw++) chain = conv_dx_tap(back, s, kh, kw, first, last, chain);
        sum = first == 0 ? chain : sum + chain;
    }
    return sum;
}

static float conv_dx_from_columns(const anx_exact_conv_back *back, const conv_dx_sum *s) {
    const anx_conv2d_params *p = &back->forward->p;
    float sum = 0.0f;
    for (int64_t kh = 0; kh < p->kernel_h; kh++)
        for (int64_t kw = 0; kw < p->kernel_w; kw++) {
            float column = 0.0f;
            for (int64_t first = 0, last; first < s->channels; first = last) {
                last = first + gemm_part(s->channels - first);
                column += conv_dx_tap(back, s, kh, kw, first, last, 0.0f);
            }
            sum += column;
        }
    return sum;
}

static void conv_dx_channel(const anx_exact_conv_back *back, const float *dy, float *dx, int64_t c) {
    const anx_exact_conv *conv = back->forward;
    const int64_t taps = (int64_t)conv->p.kernel_h * conv->p.kernel_w, group = c / conv->channels;
    conv_dx_sum s = {.dy = dy, .channels = back->dy.channels / conv->p.groups};
    s.oc0 = group * s.channels;
    s.weight = conv->weight + (s.oc0 * conv->channels + c % conv->channels) * taps;
    dx += channel_offset(&back->dx, c);
    for (s.h = 0; s.h < back->dx.height; s.h++)
        for (s.w = 0; s.w < back->dx.width; s.w++)
            dx[s.h * back->dx.row_elems + (back->dx.border + s.w) * back->dx.block] =
                back->dx_order == ANX_EXACT_DX_COLUMNS
                    ? conv_dx_from_columns(back, &s)
                    : conv_dx_blocks(back, &s, back->dx_order == ANX_EXACT_DX_CHAIN ? s.channels : conv->block);
}

/* ---- convolution: the gradient by the weights ----------------------------------------------------------- */

/* Chains of some vectors of output channels times some neighbouring floats of the input (channels, or taps of a row),
 * carried on over `rows` times `pixels` outputs. */
typedef struct dw_tile {
    const float *x;
    int64_t x_row, x_step; /* to the input of the output below, of the output on the right */
    const float *dy;
    int64_t dy_row, dy_block; /* to the output below, to the next block of output channels */
    int64_t rows, pixels;
    float *dw;
    int64_t dw_block;
} dw_tile;

ALWAYS_INLINE void dw_tile_run(const dw_tile *t, const int vecs, const int columns) {
    vec acc[TILE_VECS][TILE_COLUMNS];
    UNROLL for (int v = 0; v < vecs; v++) {
        UNROLL for (int u = 0; u < columns; u++) acc[v][u] = vec_load(t->dw + block_offset(v, t->dw_block) + u * BLOCK);
    }
    const int64_t x_step = t->x_step, dy_block = t->dy_block;
    for (int64_t row = 0; row < t->rows; row++) {
        const float *x = t->x + row * t->x_row, *dy = t->dy + row * t->dy_row;
        for (int64_t i = 0; i < t->pixels; i++, x += x_step, dy += BLOCK) {
            vec d[TILE_VECS];
            UNROLL for (int v = 0; v < vecs; v++) d[v] = vec_load(dy + block_offset(v, dy_block));
            UNROLL for (int u = 0; u < columns; u++) {
                const vec xv = vec_set1(x[u]);
                UNROLL for (int v = 0; v < vecs; v++) acc[v][u] = vec_fma(xv, d[v], acc[v][u]);
            }
        }
    }
    UNROLL for (int v = 0; v < vecs; v++) {
        UNROLL for (int u = 0; u < columns; u++) vec_store(t->dw + block_offset(v, t->dw_block) + u * BLOCK, acc[v][u]);
    }
}

#define DW_CASE(n)                                                                                                     \
    case n:                                                                                                            \
        if ((n) <= TILE_COLUMNS) dw_tile_run(t, vecs, (n) <= TILE_COLUMNS ? (n) : 1);                                  \
        break;

ALWAYS_INLINE void dw_tile_columns(const dw_tile *t, const int vecs, int64_t columns) {
    switch (columns) {
        DW_CASE(1)
        DW_CASE(2)
        DW_CASE(3)
        DW_CASE(4)
        DW_CASE(5)
        DW_CASE(6)
        DW_CASE(7)
        DW_CASE(8)
        DW_CASE(9)
        DW_CASE(10)
        DW_CASE(11)
        DW_CASE(12)
        DW_CASE(13)
        DW_CASE(14)
    default: break;
    }
}

static void dw_columns_full(const dw_tile *t, int64_t columns) {
    dw_tile_columns(t, TILE_VECS, columns);
}

static void dw_columns_block(const dw_tile *t, int64_t columns) {
    dw_tile_columns(t, BLOCK_VECS, columns);
}

/* Neighbouring floats of the input: `count` of them, of output columns ow0 .. ow1-1. */
static void dw_run(const dw_tile *tile, int64_t blocks, int64_t count, int64_t ow0, int64_t ow1) {
    dw_tile t = *tile;
    t.x += ow0 * t.x_step;
    t.dy += ow0 * BLOCK;
    t.pixels = ow1 - ow0;
    if (t.pixels <= 0 || t.rows <= 0) return;
    for (int64_t done = 0; done < count;) {
        const int64_t now = anx_exact_part(count, done, TILE_COLUMNS);
        if (blocks == TILE_BLOCKS)
            dw_columns_full(&t, now);
        else
            dw_columns_block(&t, now);
        t.x += now;
        t.dw += now * BLOCK;
        done += now;
    }
}

/* The outputs first .. last-1 whose tap at offset + index*stride lies in 0 .. extent-1. */
ALWAYS_INLINE void outputs_inside(int64_t offset, int64_t stride, int64_t outputs, int64_t extent, int64_t *first,
                                  int64_t *last) {
    *first = offset < 0 ? ceil_div(-offset, stride) : 0;
    *last = offset >= extent ? 0 : (extent - 1 - offset) / stride + 1;
    if (*last > outputs) *last = outputs;
    if (*first > *last) *first = *last;
}

static void conv_dw_blocks(const anx_exact_conv_back *back, const float *x, const float *dy, float *dw, int64_t block0,
                           int64_t blocks, int64_t chain) {
    const anx_exact_conv *conv = back->forward;
    const anx_conv2d_params *p = &conv->p;
    const int64_t kernel = (int64_t)p->kernel_h * p->kernel_w, left = conv->channels - chain * BLOCK;
    const int64_t channels = left < BLOCK ? left : BLOCK, group = block0 * BLOCK / (conv->out.channels / p->groups);
    const int64_t first_block = (p->groups > 1 ? group * (conv->channels / BLOCK) : 0) + chain;
    const bool merged = !back->skip_padding && p->dilation_w == 1 && conv->in.block == channels;
    x += first_block * conv->in.block_elems;
    dw_tile t = {.x_row = p->stride_h * conv->in.row_elems,
                 .x_step = p->stride_w * conv->in.block,
                 .dy_row = back->dy.row_elems,
                 .dy_block = back->dy.block_elems,
                 .dw = dw + block0 * kernel * conv->channels * BLOCK + chain * kernel * BLOCK * BLOCK,
                 .dw_block = kernel * conv->channels * BLOCK};
    for (int64_t kh = 0; kh < p->kernel_h; kh++) {
        int64_t oh0, oh1, ow0 = 0, ow1 = back->dy.width;
        outputs_inside(kh * p->dilation_h - p->pad_h, p->stride_h, back->dy.height, conv->in.height, &oh0, &oh1);
        t.rows = oh1 - oh0;
        t.dy = dy + block0 * back->dy.block_elems + oh0 * back->dy.row_elems + back->dy.border * BLOCK;
        const float *row = x + (oh0 * p->stride_h - p->pad_h + kh * p->dilation_h) * conv->in.row_elems +
                           (conv->in.border - p->pad_w) * conv->in.block;
        for (int64_t kw = 0; kw < p->kernel_w; kw++, t.dw += channels * BLOCK) {
            t.x = row + kw * p->dilation_w * conv->in.block;
            if (merged) { /* the taps of a row lie without a gap */
                dw_run(&t, blocks, p->kernel_w * channels, ow0, ow1);
                t.dw += p->kernel_w * channels * BLOCK;
                break;
            }
            outputs_inside(kw * p->dilation_w - p->pad_w, p->stride_w, back->dy.width, conv->in.width, &ow0, &ow1);
            dw_run(&t, blocks, channels, ow0, ow1);
        }
    }
}

static void conv_dw(const anx_exact_conv_back *back, const float *x, const float *dy, float *dw, int64_t block0,
                    int64_t blocks, int64_t chain) {
    while (blocks > 0) {
        const int64_t now = blocks >= TILE_BLOCKS ? TILE_BLOCKS : 1;
        conv_dw_blocks(back, x, dy, dw, block0, now, chain);
        block0 += now;
        blocks -= now;
    }
}

/* One weight's gradient: where its image's input and output channel start, and its tap's place. */
typedef struct conv_dw_sum {
    const float *x, *dy;
    int64_t h, w; /* of the tap for output (0, 0) */
} conv_dw_sum;

/* One chain, carried on over the outputs of an image whose tap lies inside. */
static float conv_dw_chain(const anx_exact_conv_back *back, const conv_dw_sum *s, float chain) {
    const anx_exact_conv *conv = back->forward;
    const anx_conv2d_params *p = &conv->p;
    int64_t oh0, oh1, ow0, ow1;
    outputs_inside(s->h, p->stride_h, back->dy.height, conv->in.height, &oh0, &oh1);
    outputs_inside(s->w, p->stride_w, back->dy.width, conv->in.width, &ow0, &ow1);
    for (int64_t oh = oh0; oh < oh1; oh++)
        for (int64_t ow = ow0; ow < ow1; ow++)
            chain = __builtin_fmaf(s->x[(s->h + oh * p->stride_h) * conv->in.row_elems +
                                        (conv->in.border + s->w + ow * p->stride_w) * conv->in.block],
                                   s->dy[oh * back->dy.row_elems + (back->dy.border + ow) * back->dy.block], chain);
    return chain;
}

/* An image's sum in parts; taps in the padding are zeros. */
static float conv_dw_parts(const anx_exact_conv_back *back, const conv_dw_sum *s, float sum) {
    const anx_exact_conv *conv = back->forward;
    const anx_conv2d_params *p = &conv->p;
    const int64_t outputs = back->dy.height * back->dy.width;
    int64_t oh = 0, ow = 0; /* of output k */
    for (int64_t k = 0; k < outputs;) {
        const int64_t end = k + gemm_part(outputs - k);
        float chain = 0.0f;
        for (; k < end; k++) {
            const int64_t h = s->h + oh * p->stride_h, w = s->w + ow * p->stride_w;
            const bool inside = h >= 0 && h < conv->in.height && w >= 0 && w < conv->in.width;
            const float v = inside ? s->x[h * conv->in.row_elems + (conv->in.border + w) * conv->in.block] : 0.0f;
            chain = __builtin_fmaf(v, s->dy[oh * back->dy.row_elems + (back->dy.border + ow) * back->dy.block], chain);
            if (++ow < back->dy.width) continue;
            ow = 0;
            oh++;
        }
        sum += chain;
    }
    return sum;
}

static void conv_dw_channel(const anx_exact_conv_back *back, int64_t batch, const float *x, const float *dy, float *dw,
                            int64_t oc) {
    const anx_exact_conv *conv = back->forward;
    const anx_conv2d_params *p = &conv->p;
    const int64_t c0 = oc / (back->dy.channels / p->groups) * conv->channels;
    dy += channel_offset(&back->dy, oc);
    for (int64_t c = 0; c < conv->channels; c++)
        for (int64_t kh = 0; kh < p->kernel_h; kh++)
            for (int64_t kw = 0; kw < p->kernel_w; kw++) {
                float sum = 0.0f;
                for (int64_t n = 0; n < batch; n++) {
                    const conv_dw_sum s = {.x = x + n * conv->in.image_elems + channel_offset(&conv->in, c0 + c),
                                           .dy = dy + n * back->dy.image_elems,
                                           .h = kh * p->dilation_h - p->pad_h,
                                           .w = kw * p->dilation_w - p->pad_w};
                    sum = back->per_image ? conv_dw_parts(back, &s, sum) : conv_dw_chain(back, &s, sum);
                }
                dw[(c * p->kernel_h + kh) * p->kernel_w + kw] = sum;
            }
}

/* ---- linear --------------------------------------------------------------------------------------------- */

/* dx[u][0 .. PANEL) of `rows` batch rows: the chains of `outputs` outputs, dy[o][rows], added to it, or to 0 if
 * `first`. */
ALWAYS_INLINE void linear_dx_tile_run(const float *dy, const float *w, int64_t ld, int64_t outputs, float *dx,
                                      bool first, const int rows) {
    vec acc[TILE_VECS][TILE_COLUMNS];
    UNROLL for (int v = 0; v < TILE_VECS; v++) {
        UNROLL for (int u = 0; u < rows; u++) acc[v][u] = vec_set1(0.0f);
    }
    for (int64_t o = 0; o < outputs; o++, dy += rows, w += ld) {
        vec wv[TILE_VECS];
        UNROLL for (int v = 0; v < TILE_VECS; v++) wv[v] = vec_load(w + v * VEC_LANES);
        /* Rows lie pages apart, so the hardware does not see that the next panel follows. */
        UNROLL for (int v = 0; v < PANEL; v += BLOCK) __builtin_prefetch(w + PANEL + v, 0, 2);
        UNROLL for (int u = 0; u < rows; u++) {
            const vec d = vec_set1(dy[u]);
            UNROLL for (int v = 0; v < TILE_VECS; v++) acc[v][u] = vec_fma(d, wv[v], acc[v][u]);
        }
    }
    UNROLL for (int u = 0; u < rows; u++) {
        UNROLL for (int v = 0; v < TILE_VECS; v++) {
            float *sum = dx + u * ld + v * VEC_LANES;
            vec_store(sum, (first ? vec_set1(0.0f) : vec_load(sum)) + acc[v][u]);
        }
    }
}

#define LINEAR_DX_CASE(n)                                                                                              \
    case n:                                                                                                            \
        if ((n) <= TILE_COLUMNS) linear_dx_tile_run(dy, w, ld, outputs, dx, first, (n) <= TILE_COLUMNS ? (n) : 1);     \
        break;

static void linear_dx_tile(const float *dy, const float *w, int64_t ld, int64_t outputs, float *dx, bool first,
                           int64_t rows) {
    switch (rows) {
        LINEAR_DX_CASE(1)
        LINEAR_DX_CASE(2)
        LINEAR_DX_CASE(3)
        LINEAR_DX_CASE(4)
        LINEAR_DX_CASE(5)
        LINEAR_DX_CASE(6)
        LINEAR_DX_CASE(7)
        LINEAR_DX_CASE(8)
        LINEAR_DX_CASE(9)
        LINEAR_DX_CASE(10)
        LINEAR_DX_CASE(11)
        LINEAR_DX_CASE(12)
        LINEAR_DX_CASE(13)
        LINEAR_DX_CASE(14)
    default: break;
    }
}

/* Fewer than PANEL columns. */
static void linear_dx_rest(const float *dy, const float *w, int64_t ld, int64_t outputs, float *dx, bool first,
                           int64_t rows, int64_t columns) {
    for (int64_t u = 0; u < rows; u++) {
        float chain[PANEL] = {0};
        for (int64_t o = 0; o < outputs; o++)
            for (int64_t i = 0; i < columns; i++) chain[i] = __builtin_fmaf(dy[o * rows + u], w[o * ld + i], chain[i]);
        for (int64_t i = 0; i < columns; i++) dx[u * ld + i] = (first ? 0.0f : dx[u * ld + i]) + chain[i];
    }
}

static void linear_dx_unfused(const anx_exact_linear_back *l, int64_t i0, int64_t i1) {
    for (int64_t n = 0; n < l->batch; n++) {
        float *dx = l->dx + n * l->in;
        memset(dx + i0, 0, (size_t)(i1 - i0) * sizeof *dx);
        for (int64_t o = 0; o < l->out; o++)
            for (int64_t i = i0; i < i1; i++) dx[i] += l->dy[n * l->out + o] * l->weight[o * l->in + i];
    }
}

static void linear_dx(const anx_exact_linear_back *linear, int64_t i0, int64_t i1) {
    if (!linear->fused_dx) {
        linear_dx_unfused(linear, i0, i1);
        return;
    }
    for (int64_t o = 0; o < linear->out; o += linear->dx_block) {
        const int64_t left = linear->out - o, outputs = left < linear->dx_block ? left : linear->dx_block;
        for (int64_t i = i0; i < i1; i += PANEL) {
            const float *w = linear->weight + o * linear->in + i;
            for (int64_t n = 0; n < linear->batch;) {
                const int64_t rows = anx_exact_part(linear->batch, n, TILE_COLUMNS);
                const float *dy = linear->dy_tiles + n * linear->out + o * rows;
                float *dx = linear->dx + n * linear->in + i;
                if (i + PANEL <= i1)
                    linear_dx_tile(dy, w, linear->in, outputs, dx, o == 0, rows);
                else
                    linear_dx_rest(dy, w, linear->in, outputs, dx, o == 0, rows, i1 - i);
                n += rows;
            }
        }
    }
}

/* The rows `from` .. from+count-1 of the batch for `outputs` outputs from o on and PANEL inputs from i on. */
ALWAYS_INLINE void linear_dw_tile_run(const anx_exact_linear_back *l, int64_t from, int64_t count, int64_t o, int64_t i,
                                      const int outputs) {
    vec acc[TILE_VECS][TILE_COLUMNS];
    UNROLL for (int v = 0; v < TILE_VECS; v++) {
        UNROLL for (int u = 0; u < outputs; u++) acc[v][u] = vec_set1(0.0f);
    }
    const int64_t in = l->in, out = l->out;
    const float *x = l->x + from * in + i, *dy = l->dy + from * out + o;
    for (int64_t n = 0; n < count; n++, x += in, dy += out) {
        vec xv[TILE_VECS];
        UNROLL for (int v = 0; v < TILE_VECS; v++) xv[v] = vec_load(x + v * VEC_LANES);
        UNROLL for (int u = 0; u < outputs; u++) {
            const vec d = vec_set1(dy[u]);
            UNROLL for (int v = 0; v < TILE_VECS; v++) acc[v][u] = vec_fma(d, xv[v], acc[v][u]);
        }
    }
    UNROLL for (int u = 0; u < outputs; u++) {
        UNROLL for (int v = 0; v < TILE_VECS; v++) {
            float *sum = l->dw + (o + u) * in + i + v * VEC_LANES;
            vec_store(sum, (from == 0 ? vec_set1(0.0f) : vec_load(sum)) + acc[v][u]);
        }
    }
}

#define LINEAR_DW_CASE(n)                                                                                              \
    case n:                                                                                                            \
        if ((n) <= TILE_COLUMNS) linear_dw_tile_run(l, from, count, o, i, (n) <= TILE_COLUMNS ? (n) : 1);              \
        break;

static void linear_dw_tile(const anx_exact_linear_back *l, int64_t from, int64_t count, int64_t o, int64_t i,
                           int64_t outputs) {
    switch (outputs) {
        LINEAR_DW_CASE(1)
        LINEAR_DW_CASE(2)
        LINEAR_DW_CASE(3)
        LINEAR_DW_CASE(4)
        LINEAR_DW_CASE(5)
        LINEAR_DW_CASE(6)
        LINEAR_DW_CASE(7)
        LINEAR_DW_CASE(8)
        LINEAR_DW_CASE(9)
        LINEAR_DW_CASE(10)
        LINEAR_DW_CASE(11)
        LINEAR_DW_CASE(12)
        LINEAR_DW_CASE(13)
        LINEAR_DW_CASE(14)
    default: break;
    }
}

static void linear_dw_rest(const anx_exact_linear_back *l, int64_t from, int64_t count, int64_t o, int64_t i) {
    float chain = 0.0f;
    for (int64_t n = from; n < from + count; n++)
        chain = __builtin_fmaf(l->dy[n * l->out + o], l->x[n * l->in + i], chain);
    float *sum = l->dw + o * l->in + i;
    *sum = (from == 0 ? 0.0f : *sum) + chain;
}

static void linear_dw_unfused(const anx_exact_linear_back *l, int64_t o) {
    float *dw = l->dw + o * l->in;
    memset(dw, 0, (size_t)l->in * sizeof *dw);
    if (l->batch == 1) { /* nothing is added to 0: -0 stays */
        for (int64_t i = 0; i < l->in; i++) dw[i] = l->dy[o] * l->x[i];
        return;
    }
    for (int64_t n = 0; n < l->batch; n++)
        for (int64_t i = 0; i < l->in; i++) dw[i] += l->dy[n * l->out + o] * l->x[n * l->in + i];
}

/* Inputs i0 .. i1-1 of one part of the batch. */
static void linear_dw_span(const anx_exact_linear_back *l, int64_t from, int64_t count, int64_t o0, int64_t o1,
                           int64_t i0, int64_t i1) {
    for (int64_t o = o0; o < o1;) {
        const int64_t outputs = anx_exact_part(o1 - o0, o - o0, TILE_COLUMNS);
        int64_t i = i0;
        for (; i + PANEL <= i1; i += PANEL) linear_dw_tile(l, from, count, o, i, outputs);
        for (int64_t u = 0; u < outputs; u++)
            for (int64_t j = i; j < i1; j++) linear_dw_rest(l, from, count, o + u, j);
        o += outputs;
    }
}

static void linear_dw(const anx_exact_linear_back *l, int64_t o0, int64_t o1) {
    if (!l->fused_dw) {
        for (int64_t o = o0; o < o1; o++) linear_dw_unfused(l, o);
        return;
    }
    enum { CACHED = 1 << 16 }; /* floats of x that stay in the cache while all outputs pass */
    for (int64_t from = 0; from < l->batch; from += l->dw_block) {
        const int64_t left = l->batch - from, count = left < l->dw_block ? left : l->dw_block;
        const int64_t span = CACHED / count < PANEL ? PANEL : CACHED / count / PANEL * PANEL;
        for (int64_t i = 0; i < l->in; i += span)
            linear_dw_span(l, from, count, o0, o1, i, i + span < l->in ? i + span : l->in);
    }
}
