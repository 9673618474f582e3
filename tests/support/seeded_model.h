/* A model as PyTorch's constructor makes it from a seed. */
#ifndef ANX_TESTS_SUPPORT_SEEDED_MODEL_H
#define ANX_TESTS_SUPPORT_SEEDED_MODEL_H

#include "loaders/checkpoint/checkpoint.h"

/* What torch.manual_seed(seed); torchvision.models.alexnet(num_classes=classes) holds; classes <= 0: 1000. The caller
   destroys it; aborts where memory runs out. */
anx_model *seeded_model(uint64_t seed, int64_t classes);

#endif
