#include "tests/faults/faults.h"

/*
 * Where each sits: the narrow network's rows are
 *   features.0  conv 5x5 stride 2 padding 2, 3 to 10       features.5  conv 3x3 padding 1, 22 to 18
 *   features.1  relu                                       features.6  relu
 *   features.2  max-pool 3/2                               features.7  max-pool 3/2, ceil_mode
 *   features.3  conv 3x5 padding (1, 2), 2 groups, to 22   avgpool     adaptive, 5x5 to 3x3 on the input used here
 *   features.4  relu                                       flatten, classifier.0 (dropout), .1 (162 to 70), .2 (relu),
 *                                                          .3 (70 to 11), prob
 */
#define AT(point_, ...) .point = point_, .fault = {__VA_ARGS__}
#define SUM(...) .kind = FAULT_SUM, .sum = {__VA_ARGS__}

static const fault_row faults[] = {
    {.name = "padding one short", AT("features.5", .kind = FAULT_PADDING), .causes = {"padding"}},
    {.name = "padding one short, first layer", AT("features.0", .kind = FAULT_PADDING), .causes = {"padding"}},
    {.name = "padding by the border's values",
     AT("features.0", .kind = FAULT_PADDING_EDGE),
     .causes = {"border", "padding"}},
    {.name = "stride 1 for 2", AT("features.0", .kind = FAULT_STRIDE), .causes = {"stride"}},
    {.name = "dilation 2 for 1", AT("features.3", .kind = FAULT_DILATION)},
    {.name = "kernel flipped", AT("features.5", .kind = FAULT_KERNEL_FLIPPED), .causes = {"kernel-flipped"}},
    {.name = "kernel transposed", AT("features.0", .kind = FAULT_KERNEL_TRANSPOSED), .causes = {"kernel-transposed"}},
    {.name = "groups read each other's channels", AT("features.3", .kind = FAULT_GROUP_OTHER)},
    {.name = "every group reads the first one's channels", AT("features.3", .kind = FAULT_GROUP_FIRST)},

    {.name = "bias dropped", AT("features.3", .kind = FAULT_BIAS_DROPPED), .causes = {"missing-bias"}},
    {.name = "bias dropped, linear", AT("classifier.3", .kind = FAULT_BIAS_DROPPED), .causes = {"missing-bias"}},
    {.name = "bias dropped in one channel",
     AT("features.5", .kind = FAULT_BIAS_DROPPED_ONE, .a = 7),
     .causes = {"bias", "missing-bias"}},
    {.name = "bias added twice", AT("classifier.1", .kind = FAULT_BIAS_TWICE)},
    {.name = "one weight zeroed, conv",
     AT("features.0", .kind = FAULT_WEIGHT_ZEROED, .a = 3 * 75 + 37),
     .causes = {"one-channel"}},
    {.name = "one weight zeroed, linear", AT("classifier.1", .kind = FAULT_WEIGHT_ZEROED, .a = 20 * 162 + 81)},
    {.name = "output channels swapped",
     AT("features.0", .kind = FAULT_ROWS_SWAPPED, .a = 2, .b = 5),
     .causes = {"channel-order"}},
    {.name = "rows of a linear layer swapped", AT("classifier.1", .kind = FAULT_ROWS_SWAPPED, .a = 30, .b = 31)},
    {.name = "classes swapped", AT("classifier.3", .kind = FAULT_ROWS_SWAPPED, .a = 0, .b = 10)},
    {.name = "weights of a linear layer read in the other layout", AT("classifier.1", .kind = FAULT_WEIGHT_LAYOUT)},
    {.name = "input channels reversed",
     AT("features.0", .kind = FAULT_INPUT_SWAPPED, .a = 0, .b = 2),
     .causes = {"channel-order"}},
    {.name = "an input channel missing", AT("features.5", .kind = FAULT_INPUT_MISSING, .a = 21)},

    {.name = "relu skipped", AT("features.1", .kind = FAULT_RELU_SKIPPED), .causes = {"skipped-relu"}},
    {.name = "relu skipped behind a linear layer",
     AT("classifier.2", .kind = FAULT_RELU_SKIPPED),
     .causes = {"skipped-relu"}},
    {.name = "leaky relu", AT("features.4", .kind = FAULT_RELU_LEAKY), .causes = {"skipped-relu"}},
    {.name = "dropout active", AT("classifier.0", .kind = FAULT_DROPOUT_ACTIVE)},
    {.name = "flatten in the order (H, W, C)", AT("flatten", .kind = FAULT_FLATTEN_HWC)},
    {.name = "pooling window of 2", AT("features.2", .kind = FAULT_POOL_SMALL), .causes = {"window"}},
    {.name = "ceil_mode ignored", AT("features.7", .kind = FAULT_POOL_FLOOR), .causes = {"far-edge"}},
    {.name = "mean instead of maximum", AT("features.2", .kind = FAULT_POOL_AVERAGE), .causes = {"pooling-kind"}},
    {.name = "adaptive windows end early", AT("avgpool", .kind = FAULT_WINDOW_END)},
    {.name = "adaptive windows of one size", AT("avgpool", .kind = FAULT_WINDOW_FIXED)},
    {.name = "softmax to base 2", AT("prob", .kind = FAULT_SOFTMAX_BASE_2)},
    {.name = "softmax with a temperature", AT("prob", .kind = FAULT_SOFTMAX_TEMPERATURE)},

    {.name = "the last row is stale", AT("features.0", .kind = FAULT_ROW_STALE), .causes = {"far-edge"}},
    {.name = "the last image of the batch is stale",
     AT("classifier.1", .kind = FAULT_IMAGE_STALE),
     .causes = {"stale-image"}},
    {.name = "the last image of the batch is stale, conv",
     AT("features.3", .kind = FAULT_IMAGE_STALE),
     .causes = {"stale-image"}},
    {.name = "channels past a block of 16 lost", AT("features.5", .kind = FAULT_CHANNELS_LOST)},
    {.name = "planes shifted by a column", AT("features.6", .kind = FAULT_CHANNEL_SHIFTED), .causes = {"shift"}},

    {.name = "bf16 inputs", AT("features.5", SUM(.x = FORMAT_BF16)), .causes = {"reduced-precision-bf16"}},
    {.name = "fp16 inputs", AT("features.3", SUM(.x = FORMAT_F16)), .causes = {"reduced-precision-fp16"}},
    {.name = "TF32 inputs", AT("features.0", SUM(.x = FORMAT_TF32)), .causes = {"reduced-precision-tf32"}},
    {.name = "bf16 operands",
     AT("features.3", SUM(.x = FORMAT_BF16, .w = FORMAT_BF16)),
     .causes = {"reduced-precision-bf16"}},
    {.name = "fp16 operands",
     AT("classifier.1", SUM(.x = FORMAT_F16, .w = FORMAT_F16)),
     .causes = {"reduced-precision-fp16"}},
    {.name = "TF32 operands",
     AT("features.5", SUM(.x = FORMAT_TF32, .w = FORMAT_TF32)),
     .causes = {"reduced-precision-tf32"}},
    {.name = "TF32 operands, linear",
     AT("classifier.1", SUM(.x = FORMAT_TF32, .w = FORMAT_TF32)),
     .causes = {"reduced-precision-tf32"}},
    {.name = "bf16 weights", AT("classifier.3", SUM(.w = FORMAT_BF16)), .causes = {"reduced-precision-bf16"}},
    {.name = "fp16 weights", AT("classifier.1", SUM(.w = FORMAT_F16)), .causes = {"reduced-precision-fp16"}},
    {.name = "int8 weights", AT("features.5", .kind = FAULT_WEIGHTS_INT8)},
    {.name = "fp16 accumulation",
     AT("features.3", SUM(.accumulator = FORMAT_F16)),
     .causes = {"rounded-output-fp16", "reduced-precision-fp16"}},
    {.name = "TF32 accumulation", AT("classifier.1", SUM(.accumulator = FORMAT_TF32))},
    /* Short sums: what is cut off stays below the level that fails. The judge promises a warning. */
    {.name = "truncating accumulation", AT("features.5", SUM(.truncate = true)), .warns = true},
    {.name = "int8 outputs", AT("features.5", .kind = FAULT_OUTPUT_INT8)},
    {.name = "bf16 outputs", AT("classifier.3", .kind = FAULT_OUTPUT_BF16), .causes = {"rounded-output-bf16"}},

    {.name = "relu skipped where it is fused",
     AT("features.4", .kind = FAULT_RELU_SKIPPED),
     .where = IN_INFER,
     .causes = {"skipped-relu"}},
    {.name = "bias dropped where it is fused",
     AT("features.5", .kind = FAULT_BIAS_DROPPED),
     .where = IN_INFER,
     .causes = {"missing-bias"}},
    {.name = "TF32 where it is fused",
     AT("features.3", SUM(.x = FORMAT_TF32, .w = FORMAT_TF32)),
     .where = IN_INFER,
     .causes = {"reduced-precision-tf32"}},
    {.name = "a group stale where groups run together",
     AT("classifier.1", .kind = FAULT_IMAGE_STALE),
     .where = IN_WHOLE},
};

static const benign_row benign[] = {
    {.name = "sequential", .sum = {.order = ORDER_SEQUENTIAL}, .batch = 3},
    {.name = "sequential with fused multiply-add", .sum = {.order = ORDER_FMA}, .batch = 3},
    {.name = "sequential from the bias", .sum = {.order = ORDER_BIAS_FIRST}, .batch = 3},
    {.name = "reversed", .sum = {.order = ORDER_REVERSED}, .batch = 3},
    {.name = "permuted", .sum = {.order = ORDER_PERMUTED}, .batch = 3},
    {.name = "channels last", .sum = {.order = ORDER_CHANNELS_LAST}, .batch = 3},
    {.name = "pairwise", .sum = {.order = ORDER_PAIRWISE}, .batch = 3},
    {.name = "four lanes", .sum = {.order = ORDER_LANES, .width = 4}, .batch = 3},
    {.name = "32 lanes", .sum = {.order = ORDER_LANES, .width = 32}, .batch = 3},
    {.name = "blocks of 16", .sum = {.order = ORDER_BLOCKS, .width = 16}, .batch = 3},
    {.name = "split in two", .sum = {.order = ORDER_BLOCKS, .width = 81}, .batch = 3},
    {.name = "double, rounded once", .sum = {.order = ORDER_DOUBLE}, .batch = 3},
    {.name = "reference", .device = "reference", .batch = 3},
    {.name = "exact, one thread, batch 1", .device = "exact", .threads = 1, .batch = 1},
    {.name = "exact, three threads, batch 5", .device = "exact", .threads = 3, .batch = 5},
    {.name = "cpu, one thread, batch 1", .device = "cpu", .threads = 1, .batch = 1},
    {.name = "cpu, two threads, batch 4", .device = "cpu", .threads = 2, .batch = 4},
    {.name = "cpu, five threads, batch 7", .device = "cpu", .threads = 5, .batch = 7},
};

const fault_row *fault_row_at(int i) {
    return i >= 0 && i < (int)(sizeof faults / sizeof faults[0]) ? &faults[i] : NULL;
}

const benign_row *benign_row_at(int i) {
    return i >= 0 && i < (int)(sizeof benign / sizeof benign[0]) ? &benign[i] : NULL;
}
