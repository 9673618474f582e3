#include "src/train/sampling.h"

#include <math.h>

/* ---- order ---------------------------------------------------------------------------------------------- */

static void swap(int64_t *a, int64_t *b) {
    const int64_t t = *a;
    *a = *b;
    *b = t;
}

static void permute_narrow(anx_mt19937 *gen, int64_t n, int64_t *order) {
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = 0; i < n - 1; i++) swap(&order[i], &order[i + (int64_t)anx_mt19937_u32(gen) % (n - i)]);
}

static void permute_wide(anx_mt19937 *gen, int64_t n, int64_t *order) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t z = (int64_t)(anx_mt19937_u64(gen) % (uint64_t)(i + 1));
        order[i] = i;
        swap(&order[i], &order[z]);
    }
}

void anx_randperm(anx_mt19937 *gen, int64_t n, int64_t *order) {
    if (n < UINT32_MAX / 20)
        permute_narrow(gen, n, order);
    else
        permute_wide(gen, n, order);
}

void anx_loader_order(int64_t seed, int64_t n, int64_t *order) {
    anx_mt19937 own;
    anx_mt19937_seed(&own, (uint64_t)seed);
    anx_randperm(&own, n, order);
}

int64_t anx_loader_begin(anx_mt19937 *gen, bool shuffle, int64_t n, int64_t *order) {
    int64_t seed = 0;
    anx_mt19937_u64(gen); /* DataLoader's base seed */
    if (shuffle) {
        seed = (int64_t)(anx_mt19937_u64(gen) & INT64_MAX);
        anx_loader_order(seed, n, order);
    } else if (order != NULL) {
        for (int64_t i = 0; i < n; i++) order[i] = i;
    }
    return seed;
}

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): the finaliser of SplitMix64. */
static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* `index` -1 stands for the order itself. */
void anx_independent_generator(uint64_t seed, int64_t epoch, int64_t index, anx_mt19937 *out) {
    anx_mt19937_seed(out, mix(mix(mix(seed) ^ (uint64_t)epoch) ^ (uint64_t)index));
}

void anx_independent_order(uint64_t seed, int64_t epoch, int64_t n, int64_t *order) {
    anx_mt19937 gen;
    anx_independent_generator(seed, epoch, -1, &gen);
    anx_randperm(&gen, n, order);
}

/* ---- crops and flips ------------------------------------------------------------------------------------ */

anx_crop_ranges anx_crop_defaults(void) {
    return (anx_crop_ranges){.scale = {0.08, 1.0}, .ratio = {3.0 / 4.0, 4.0 / 3.0}};
}

anx_status anx_crop_check(const anx_crop_ranges *r, anx_error *err) {
    if (!(r->scale[0] >= 0.0 && r->scale[0] <= r->scale[1] && r->scale[1] <= 1.0))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "the crop's scale is %g to %g; it must go upwards within 0 and 1", r->scale[0],
                             r->scale[1]);
    if (!(r->ratio[0] >= 1e-6 && r->ratio[0] <= r->ratio[1] && r->ratio[1] <= 1e6))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "the crop's ratio is %g to %g; it must go upwards within 1e-6 and 1e6", r->ratio[0],
                             r->ratio[1]);
    return ANX_OK;
}

static double draw_uniform(anx_mt19937 *gen, float low, float high) {
    float x;
    anx_mt19937_uniform_f32(gen, 1, low, high, &x);
    return (double)x;
}

static float log_of(double x) {
    return (float)log((double)(float)x);
}

/* torch.randint(0, n, (1,)), n up to 2^28. */
static int64_t draw_below(anx_mt19937 *gen, int64_t n) {
    return (int64_t)anx_mt19937_u32(gen) % n;
}

static anx_crop middle(int64_t height, int64_t width, const anx_crop_ranges *ranges) {
    const double in_ratio = (double)width / (double)height;
    anx_crop crop = {.height = height, .width = width};
    if (in_ratio < ranges->ratio[0])
        crop.height = (int64_t)rint((double)width / ranges->ratio[0]);
    else if (in_ratio > ranges->ratio[1])
        crop.width = (int64_t)rint((double)height * ranges->ratio[1]);
    if (crop.height < 1) crop.height = 1; /* where the ratio rounds one of them away, which torchvision stumbles over */
    if (crop.width < 1) crop.width = 1;
    crop.top = (height - crop.height) / 2;
    crop.left = (width - crop.width) / 2;
    return crop;
}

anx_crop anx_crop_draw(anx_mt19937 *gen, int64_t height, int64_t width, const anx_crop_ranges *ranges) {
    const double area = (double)(height * width);
    const float low = log_of(ranges->ratio[0]), high = log_of(ranges->ratio[1]);
    for (int tries = 0; tries < 10; tries++) {
        const double target = area * draw_uniform(gen, (float)ranges->scale[0], (float)ranges->scale[1]);
        const double ratio = (double)(float)exp(draw_uniform(gen, low, high));
        const double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (!(w > 0.0 && w <= (double)width && h > 0.0 && h <= (double)height)) continue;
        anx_crop crop = {.height = (int64_t)h, .width = (int64_t)w};
        crop.top = draw_below(gen, height - crop.height + 1);
        crop.left = draw_below(gen, width - crop.width + 1);
        return crop;
    }
    return middle(height, width, ranges);
}

bool anx_flip_draw(anx_mt19937 *gen, double p) {
    return draw_uniform(gen, 0.0f, 1.0f) < (double)(float)p;
}
