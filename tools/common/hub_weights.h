/* Where torch.hub keeps torchvision's published weights. */
#ifndef ANX_TOOLS_COMMON_HUB_WEIGHTS_H
#define ANX_TOOLS_COMMON_HUB_WEIGHTS_H

#include "src/base/status.h"

/*
 * The path of `name` ("alexnet-owt-7be5be79.pth") in torch.hub's cache, malloc'd: below $TORCH_HOME, else
 * $XDG_CACHE_HOME/torch, else ~/.cache/torch, in hub/checkpoints, as torch.hub.get_dir has it.
 * Errors: NOT_FOUND (the message says where it was looked for), OUT_OF_MEMORY.
 */
anx_status anx_find_hub_weights(const char *name, char **out, anx_error *err);

#endif
