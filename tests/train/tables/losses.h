/* Written by torch_tables.py with PyTorch 2.15.0. */
#ifndef ANX_TESTS_TRAIN_TABLES_LOSSES_H
#define ANX_TESTS_TRAIN_TABLES_LOSSES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Logits are drawn uniformly from -scale .. scale after manual_seed(case), the target of row b is 7 b mod C.
   Recorded: the loss, and of row N - 1 the log-probability and the gradient of the first and the last class,
   and SHA-256 over all of both. */
static const struct {
    int64_t rows, classes;
    double label_smoothing;
    float scale;
    uint32_t loss, first_log_prob, last_log_prob, first_grad, last_grad;
    const char *log_probs, *grad;
} losses[] = {
    {1, 1, 0.0, 1.0f, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119",
     "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119"},
    {3, 5, 0.0, 2.0f, 0x3faa8ff1u, 0xbfa3725au, 0xbffd1da0u, 0x3dbe6414u, 0xbe930b07u,
     "61ada8ac36d0c3b2dd0589671956d7f7e86e55c2495199ee289a729c5083f81f",
     "ad5c19ea9fecd500186072ca044d492880eb1daff62a93189b5d6c9f73bc5b16"},
    {3, 5, 0.1, 2.0f, 0x400cb27du, 0xbffca2e2u, 0xc006993eu, 0x3d22642bu, 0xbe882dc9u,
     "0eda14324dd896633ab1e173162e2a28d758a40e3fa1dc3d8be19c584f1f8a5e",
     "0ca492564de686fbde2aff5f42e12e1d345e934913b517632bf0c5057ee94dd2"},
    {2, 16, 0.3, 8.0f, 0x4154438fu, 0xc1556929u, 0xc050f784u, 0xbc199639u, 0x3c1f4698u,
     "85185dd327177130802d3113e21e3ac7484cf1a9f8a5d67e77adff9fb1699fca",
     "5f32e3845e1f84fdc9133f1f0c050bc23efe26b9f22d12bce841eee4a2e926d1"},
    {5, 19, 0.0, 30.0f, 0x4187385au, 0xc1303538u, 0xbfbb54b1u, 0x365d45d0u, 0x3d3d943eu,
     "8762f3599407515ad70a9022991ea84d28a9caba752387d2cfaf32951c77b377",
     "ce23016f4afdc68a978f93fe0664010774f4ded388d59069a82ac19b1966352b"},
    {9, 37, 0.1, 4.0f, 0x40a307c1u, 0xc0db1967u, 0xc10a8f54u, 0xb93f1016u, 0xb99357e9u,
     "b7c0ae576f543d5092934421a95ea704f4c6f8c1c0d2f83fd7e34b049ce3f360",
     "27554384005325384bf5bae9179eb4fcf665a69d9b537ddd5d6e17aaada14464"},
    {17, 37, 0.0, 90.0f, 0x42a897f0u, 0xc1f0e3c2u, 0xc3037e23u, 0x27b1726bu, 0x0u,
     "aef68018ec49b170d640bce2e02e27770348b428d2f178b97f3d75196fd87a9f",
     "68692683db6bfdbe233b5898f842738dcfed0e62ee55eb996c50d9263a5b0651"},
    {18, 40, 1.0, 4.0f, 0x40b38dd0u, 0xc0210026u, 0xbff15d81u, 0x3b4b343du, 0x3be6b386u,
     "1bfc1f9c89ae81ce3533d967baf960bd6c78fda00f530f1ded2e9139c46f772b",
     "cc79ab125566a94249fec09a8787c67e5384c10f0902a3c9c9e9a3f146ca73fe"},
    {1, 80011, 1.0, 300.0f, 0x439845abu, 0xc3761b49u, 0xc38bb230u, 0xb751afb6u, 0xb751afb6u,
     "16602096eb1202793488f72fb70d28038d2e29d51fd5687782bf52bc753125e4",
     "dedfabb06eccf16ef38cbefef89bc4489172f951efe33690bbc543f4b67ed057"},
};

#endif
