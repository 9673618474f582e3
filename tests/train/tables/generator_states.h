/* Written by torch_tables.py with PyTorch 2.15.0. */
#ifndef ANX_TESTS_TRAIN_TABLES_GENERATOR_STATES_H
#define ANX_TESTS_TRAIN_TABLES_GENERATOR_STATES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* SHA-256 of torch.get_rng_state() after manual_seed(seed), torch.rand(draws) and, where `normal`, torch.randn(1) */
static const struct {
    uint64_t seed;
    int draws;
    bool normal;
    const char *digest;
} generator_states[] = {
    {UINT64_C(0), 0, 0, "1ccf17250133dec5e96478acd63e13d728d0dbbabb30389415a302c6f872f81f"},
    {UINT64_C(7), 1, 0, "6a40530d7474f061195a51b14eb7bbf1c0d320661b139c889de2b685adb674ad"},
    {UINT64_C(18446744073709551615), 623, 0, "7aa6c4ad8ec104672739de62ff37cdce9bd9871f9ed82bab76a128f58f53b496"},
    {UINT64_C(5), 624, 0, "7447755f70b7c1784d39e5cfca8fb9d7f9402df4c6310341075f5ab62572db34"},
    {UINT64_C(6), 625, 0, "dfc39757eaaea2d00535aee55bdb1ef28ff6ececcd181c12ffaab83d156a40d3"},
    {UINT64_C(1099511627779), 2000, 1, "016ad14bb761ad416cccad6fe0b2b40cf1eaeb257b7c3ee4e54a80957df0ce0d"},
    {UINT64_C(9), 0, 1, "04b77c2493e2722c893adf33b21d1fbb70a55b3b4382b0ab7eeb2ace60b01631"},
};

#endif
