/* Written by torch_tables.py with PyTorch 2.15.0. */
#ifndef ANX_TESTS_TRAIN_TABLES_SGD_H
#define ANX_TESTS_TRAIN_TABLES_SGD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { SGD_ELEMS = 11, SGD_STEPS = 3 };
/* SGD_STEPS steps of SGD on a parameter drawn uniformly from -1 .. 1 after manual_seed(case), gradients drawn behind
 * it. */
static const struct {
    double lr, momentum, dampening, weight_decay;
    bool nesterov, maximize;
    uint32_t param[SGD_ELEMS], buffer[SGD_ELEMS];
} sgd_cases[] = {
    {0.01,
     0.0,
     0.0,
     0.0,
     0,
     0,
     {0x3a957190u, 0x3f0ba5e9u, 0xbf4e31a3u, 0xbf3a1f22u, 0xbece6d06u, 0x3e89bccdu, 0xbcc79898u, 0x3f4d3a8du,
      0xbd9a58bfu, 0x3e805501u, 0xbe96e2afu},
     {0}},
    {0.01,
     0.9,
     0.0,
     0.0001,
     0,
     0,
     {0x3f06b652u, 0xbeddfcdeu, 0xbe308665u, 0x3eec5d8du, 0xbf72dae5u, 0x3f14c828u, 0xbe3ac5d7u, 0x3eed4ab2u,
      0x3e049d3cu, 0xbe0d2e98u, 0x3e8fe808u},
     {0xbf82cd67u, 0xbf858adeu, 0xbf8b109eu, 0x3f5cbe26u, 0x3e97f205u, 0x3f847155u, 0xbfac84a3u, 0x400fd4b0u,
      0x3da4b83cu, 0x3fa6a60eu, 0x3def216cu}},
    {0.1,
     0.9,
     0.25,
     0.01,
     0,
     0,
     {0x3e305701u, 0xbe90642au, 0x3dcbaba2u, 0xbe0eb58bu, 0x3eb26ac7u, 0x3e5ff831u, 0x3e2b3180u, 0xbf1b918fu,
      0x3e29b7b3u, 0xbf0e301eu, 0x3db11fb6u},
     {0x3eff7957u, 0x3eaa2b84u, 0x3e848532u, 0x3f0f5ae2u, 0x3cc6dce8u, 0xbe494accu, 0xbfa2e44au, 0xbf644ceeu,
      0xbf0689f4u, 0xbf6dc388u, 0x3ecbfd67u}},
    {0.3,
     0.7,
     0.0,
     0.1,
     1,
     0,
     {0xbfaadf24u, 0x3f665a00u, 0x3ee1ae45u, 0x3ebfcf1fu, 0x3f46f364u, 0xbe1eace8u, 0x3e93af3au, 0x3ea2b361u,
      0x3c0cf985u, 0x3dcd1730u, 0x3f8d2e98u},
     {0xbe903552u, 0xbff7aaceu, 0xbf890f66u, 0xbf9adeedu, 0xbfa6e00cu, 0xbf45a6c7u, 0xbc23d3e8u, 0x3d13954cu,
      0xbdf9b1dbu, 0x3f0e9959u, 0xbfae50b2u}},
    {0.05,
     0.9,
     -0.5,
     0.2,
     0,
     1,
     {0x3de49a78u, 0x3e990f68u, 0xbf305f44u, 0xbf080955u, 0xbf375aa2u, 0xbf2ec66du, 0x3f7c798bu, 0x3f2e7721u,
      0x3e8b24e1u, 0x3f871b49u, 0xbefa0448u},
     {0xbf2e3d56u, 0xc0012e22u, 0xbf549d12u, 0xbdbce4dcu, 0xc036adf1u, 0xc02c905au, 0xbed9706au, 0x3f7b855au,
      0xbfab81aeu, 0xbfcf2309u, 0x3fbf2a3eu}},
    {0.7,
     0.0,
     0.0,
     0.3,
     0,
     1,
     {0xbe1187cau, 0xbc446403u, 0x3fb418d1u, 0x3f3534ebu, 0xbdced326u, 0x3e1e2a88u, 0x3e61f3c7u, 0xbe22f9acu,
      0xbf28ea18u, 0xbe8330eau, 0xbe9051ddu},
     {0}},
    {0.02,
     0.9,
     0.0,
     0.0,
     1,
     0,
     {0x3e450ae0u, 0x3d031901u, 0x3f68afd4u, 0x3e8f8523u, 0xbf040ec4u, 0xbe5ea1c0u, 0x3ec32010u, 0x3efa1f73u,
      0x3e1df8bbu, 0xbf1ab680u, 0xbebe4175u},
     {0xbf895fecu, 0x3fb00fc0u, 0x3f854b0eu, 0xbf80e3aeu, 0xbf1ff4ccu, 0x3ffb36c4u, 0xbf426dccu, 0x3f0afa43u,
      0xbecd0f45u, 0xbee18714u, 0x3f849f77u}},
};

#endif
