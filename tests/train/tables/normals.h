/* Written by torch_tables.py with PyTorch 2.15.0. */
#ifndef ANX_TESTS_TRAIN_TABLES_NORMALS_H
#define ANX_TESTS_TRAIN_TABLES_NORMALS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* manual_seed(case); torch.empty(n).normal_(mean, std): SHA-256, the first and the last value; behind it torch.randn(1)
 */
static const struct {
    size_t n;
    double mean, std;
    const char *digest;
    uint32_t first, last, after;
} normals[] = {
    {16, 0.0, 1.0, "7648137a31024642604465428f1598d06f595259ac993612918498d7cde9b70c", 0xbf901b85u, 0xbe7d367cu,
     0xbf382144u},
    {1, 0.0, 1.0, "5fb3d992505cc3ec9f1cc0404bf22f38f29dc7aba670b3a1c4d6a045748e4904", 0x3f294e60u, 0x3f294e60u,
     0x3e88aa47u},
    {2, 0.5, 3.0, "3d145cdaeb26855c36b809c2bb80e30f1c8e7989247a1842239b9385f0a9ddea", 0x3fd6a459u, 0xbe2ec9e6u,
     0xbea3958au},
    {15, 0.0, 0.01, "4fbcd8d424b2935c67e08aea1636df0eedf3c6ebf330e98150b13550617448c0", 0x3c039bd7u, 0x3b895e9cu,
     0xbda38aaau},
    {17, 0.0, 0.01, "351ea42537d209654643ac8538cdd43a4a938d80338cda84576b0dc10e114af8", 0xbc1a3ddeu, 0x3cb1c0b5u,
     0xbfc817cdu},
    {1000, -1.0, 0.3, "0605779e9365aa4abd9745a8db1b37c181c705cf0668391ad8c5337c54da9acb", 0xbee504a4u, 0xbf77a4d6u,
     0xbe94f873u},
    {4096, 0.0, 1.0, "9fd56a33ed34c6029b9f04b210afb469e7589e5ff5469209ca716baa2ed2ee8d", 0xbf9b0c07u, 0x3e0136cdu,
     0x3eb7893du},
};

#endif
