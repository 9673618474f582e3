/* Written by torch_tables.py with PyTorch 2.15.0. */
#ifndef ANX_TESTS_TRAIN_TABLES_DROPOUT_MASKS_H
#define ANX_TESTS_TRAIN_TABLES_DROPOUT_MASKS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Of 40 elements after manual_seed(case): bit i says that element i is kept. scale: what such a one is multiplied
   by. after: torch.rand(1) then. */
static const struct {
    double p;
    uint64_t kept;
    uint32_t scale, after;
} dropout_masks[] = {
    {0.5, 0xa72153dec4u, 0x40000000u, 0x3d0b5ba0u},
    {0.1, 0xe9f7cfffffu, 0x3f8e38e4u, 0x3e18003cu},
    {0.9, 0x48000402u, 0x41200000u, 0x3f6cd1dau},
    {0.0, 0xffffffffffu, 0x3f800000u, 0x3b8bb500u},
    {1.0, 0x0u, 0x0u, 0x3f0f447au},
    {0.3333333333333333, 0xdb1efbee5fu, 0x3fc00000u, 0x3ea8709cu},
    {0.15, 0xffafff6cf9u, 0x3f969696u, 0x3dda9c38u},
};

#endif
