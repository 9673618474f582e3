#include "parity/predictions.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/mt19937.h"

double anx_ambiguous_margin(anx_math_mode math) {
    return math == ANX_MATH_FLOAT32 ? 512 * 0x1p-24 : math == ANX_MATH_TF32 ? 0x1p-6 : 0x1p-5;
}

/* Does class i come before class k? A NaN comes before every number, and of equals the lower index. */
static bool comes_before(const float *logits, int64_t i, int64_t k) {
    const float a = logits[i], b = logits[k];
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? i < k : isnan(a);
    return a != b ? a > b : i < k;
}

static void rank_top(const float *logits, int64_t classes, anx_prediction *p) {
    int count = 0;
    for (int64_t i = 0; i < classes; i++) {
        int place = count;
        while (place > 0 && comes_before(logits, i, p->top[place - 1])) place--;
        if (place == ANX_TOP) continue;
        if (count < ANX_TOP) count++;
        for (int k = count - 1; k > place; k--) p->top[k] = p->top[k - 1];
        p->top[place] = (int32_t)i;
    }
    for (; count < ANX_TOP; count++) p->top[count] = -1;
}

/* A NaN's sign means nothing, and would be printed. */
static double unsigned_nan(double value) {
    return isnan(value) ? (double)NAN : value;
}

/* softmax and cross-entropy in double, from the largest logit. */
static void weigh(const float *logits, int64_t classes, anx_prediction *p) {
    const double largest = logits[p->top[0]];
    double sum = 0.0;
    for (int64_t i = 0; i < classes; i++) sum += exp((double)logits[i] - largest);
    for (int k = 0; k < ANX_TOP; k++)
        p->probability[k] = p->top[k] < 0 ? 0.0f : (float)unsigned_nan(exp((double)logits[p->top[k]] - largest) / sum);
    p->loss = p->label < 0 ? (double)NAN : unsigned_nan(log(sum) - ((double)logits[p->label] - largest));
}

static double spread_of(const float *logits, int64_t classes) {
    double mean = 0.0, squares = 0.0;
    for (int64_t i = 0; i < classes; i++) mean += (double)logits[i];
    mean /= (double)classes;
    for (int64_t i = 0; i < classes; i++) squares += ((double)logits[i] - mean) * ((double)logits[i] - mean);
    return unsigned_nan(sqrt(squares / (double)classes));
}

typedef struct decision {
    bool right, tied;
    double margin;
} decision;

/* Is the label among the first k? */
static decision decide(const float *logits, int64_t classes, int64_t label, int k) {
    if (classes <= k) return (decision){.right = true, .margin = (double)INFINITY};
    int64_t before = 0, equal = 0, equal_before = 0; /* other classes */
    float others[ANX_TOP]; /* the largest k logits of the other classes, descending; NaN as the largest */
    int held = 0;
    for (int64_t i = 0; i < classes; i++) {
        if (i == label) continue;
        const bool same = logits[i] == logits[label] || (isnan(logits[i]) && isnan(logits[label]));
        before += comes_before(logits, i, label);
        equal += same;
        equal_before += same && i < label;
        int place = held;
        while (place > 0 && (isnan(logits[i]) || logits[i] > others[place - 1])) place--;
        if (place == k) continue;
        if (held < k) held++;
        for (int at = held - 1; at > place; at--) others[at] = others[at - 1];
        others[place] = logits[i];
    }
    const int64_t surely_before = before - equal_before;
    return (decision){.right = before < k,
                      /* under one order of the equals it is among the first, under another it is not */
                      .tied = surely_before < k && surely_before + equal >= k,
                      .margin = unsigned_nan(fabs((double)logits[label] - (double)others[k - 1]))};
}

void anx_predict(const float *logits, int64_t classes, int64_t label, anx_math_mode math, anx_prediction *out) {
    anx_prediction p = {.file = -1, .label = label, .margin1 = (double)INFINITY, .margin5 = (double)INFINITY};
    rank_top(logits, classes, &p);
    weigh(logits, classes, &p);
    p.spread = spread_of(logits, classes);
    for (int64_t i = 0; i < classes; i++) p.non_finite = p.non_finite || !isfinite(logits[i]);
    if (label >= 0) {
        const decision first = decide(logits, classes, label, 1), five = decide(logits, classes, label, ANX_TOP);
        const double limit = anx_ambiguous_margin(math) * p.spread;
        p.right1 = first.right;
        p.right5 = five.right;
        p.tied1 = first.tied;
        p.tied5 = five.tied;
        p.margin1 = first.margin;
        p.margin5 = five.margin;
        /* What no number can be given for may be decided in any way. */
        p.ambiguous1 = classes > 1 && !(first.margin > limit);
        p.ambiguous5 = classes > ANX_TOP && !(five.margin > limit);
    }
    *out = p;
}

static bool is_at_least_0(double value) {
    return isnan(value) || value >= 0.0;
}

/* The first places have classes, each another, and shares; the others have none. */
static bool ranking_is_sound(const anx_prediction *p, int64_t classes) {
    for (int k = 0; k < ANX_TOP; k++) {
        if (k >= classes) {
            if (p->top[k] != -1 || p->probability[k] != 0.0f) return false;
            continue;
        }
        if (p->top[k] < 0 || p->top[k] >= classes || !is_at_least_0(p->probability[k]) || p->probability[k] > 1.0f)
            return false;
        for (int before = 0; before < k; before++)
            if (p->top[before] == p->top[k]) return false;
    }
    return true;
}

bool anx_prediction_is_sound(const anx_prediction *p, int64_t classes, anx_math_mode math) {
    if (p->label < -1 || p->label >= classes || !ranking_is_sound(p, classes)) return false;
    if (!is_at_least_0(p->loss) || !is_at_least_0(p->margin1) || !is_at_least_0(p->margin5) ||
        !is_at_least_0(p->spread))
        return false;
    if (p->label < 0) return !p->right1 && !p->right5 && !p->tied1 && !p->tied5 && !p->ambiguous1 && !p->ambiguous5;
    bool right5 = false;
    for (int k = 0; k < ANX_TOP; k++) right5 = right5 || p->top[k] == p->label;
    const double limit = anx_ambiguous_margin(math) * p->spread;
    return p->right1 == (p->top[0] == p->label) && p->right5 == right5 && !(p->tied1 && p->margin1 > 0) &&
           !(p->tied5 && p->margin5 > 0) && p->ambiguous1 == (classes > 1 && !(p->margin1 > limit)) &&
           p->ambiguous5 == (classes > ANX_TOP && !(p->margin5 > limit));
}

/* ---- accuracy ---- */

void anx_accuracy_fini(anx_accuracy *accuracy) {
    if (accuracy == NULL) return;
    free(accuracy->classes);
    *accuracy = (anx_accuracy)ANX_ACCURACY_INIT;
}

/* torchvision's evaluate: the mean of the batches' mean losses, the last and shorter batch counting as much. */
static double batch_loss(const anx_prediction *predictions, int64_t n, int64_t batch) {
    double sum = 0.0;
    int64_t batches = 0;
    for (int64_t first = 0; first < n; first += batch, batches++) {
        const int64_t end = n - first < batch ? n : first + batch;
        double of_batch = 0.0;
        for (int64_t i = first; i < end; i++) of_batch += predictions[i].loss;
        sum += of_batch / (double)(end - first);
    }
    return batches > 0 ? unsigned_nan(sum / (double)batches) : (double)NAN;
}

anx_status anx_accuracy_count(const anx_prediction *predictions, int64_t n, int64_t n_classes, int64_t batch,
                              anx_accuracy *out, anx_error *err) {
    if (batch < 1 || n < 0 || n_classes < 0)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%lld predictions of %lld classes in batches of %lld",
                             (long long)n, (long long)n_classes, (long long)batch);
    anx_accuracy a = {.images = n, .batch = batch, .n_classes = n_classes};
    a.classes = calloc((size_t)n_classes + 1, sizeof *a.classes);
    if (a.classes == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory to count %lld classes", (long long)n_classes);
    double loss = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const anx_prediction *p = &predictions[i];
        a.right1 += p->right1;
        a.right5 += p->right5;
        a.tied1 += p->tied1;
        a.tied5 += p->tied5;
        a.ambiguous1 += p->ambiguous1;
        a.ambiguous5 += p->ambiguous5;
        a.non_finite += p->non_finite;
        loss += p->loss;
        if (p->label < 0 || p->label >= n_classes) continue;
        a.classes[p->label].images++;
        a.classes[p->label].right1 += p->right1;
        a.classes[p->label].right5 += p->right5;
    }
    a.loss = n > 0 ? unsigned_nan(loss / (double)n) : (double)NAN;
    a.batch_loss = batch_loss(predictions, n, batch);
    *out = a;
    return ANX_OK;
}

/* ---- statistics ---- */

anx_interval anx_wilson(int64_t right, int64_t n, int64_t population, double z) {
    if (n <= 0) return (anx_interval){0.0, 1.0};
    const double share = (double)right / (double)n;
    if (n >= population) return (anx_interval){share, share};
    /* Drawing without replacement has (N - n) / (N - 1) of the variance: as if more had been drawn with it. */
    const double drawn = (double)n * (double)(population - 1) / (double)(population - n);
    const double zz = z * z / drawn, middle = (share + zz / 2) / (1 + zz);
    const double half = z / (1 + zz) * sqrt(share * (1 - share) / drawn + zz / (4 * drawn));
    const double low = middle - half, high = middle + half;
    /* With none or all right the ends are 0 and 1, which rounding misses. */
    return (anx_interval){right > 0 && low > 0.0 ? low : 0.0, right < n && high < 1.0 ? high : 1.0};
}

/* A number below `end`, each as likely as the others: draws beyond the last whole multiple are thrown away. */
static uint64_t draw_below(anx_mt19937 *gen, uint64_t end) {
    const uint64_t limit = UINT64_MAX - UINT64_MAX % end;
    for (;;) {
        const uint64_t value = anx_mt19937_u64(gen);
        if (value < limit) return value % end;
    }
}

/* Selection sampling (Knuth, The Art of Computer Programming 2, algorithm 3.4.2 S), exactly `count` of them. */
anx_status anx_draw_sample(int64_t population, int64_t count, uint64_t seed, int64_t *indices, anx_error *err) {
    if (count < 0 || count > population)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%lld of %lld cannot be drawn", (long long)count,
                             (long long)population);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, seed);
    int64_t taken = 0;
    for (int64_t i = 0; taken < count; i++)
        if (draw_below(&gen, (uint64_t)(population - i)) < (uint64_t)(count - taken)) indices[taken++] = i;
    return ANX_OK;
}
