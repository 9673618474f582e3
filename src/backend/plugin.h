/*
 * Backends that live in plugins: shared objects named anx_backend_NAME.so, opened when their device is asked for, so
 * that a program runs where what they need is missing. Looked for in $ANX_PLUGIN_DIR, and there alone, where it is set;
 * else in lib/anx of the installation that the program is part of, in the place it was configured for, and where the
 * build leaves them.
 */
#ifndef ANX_SRC_BACKEND_PLUGIN_H
#define ANX_SRC_BACKEND_PLUGIN_H

#include "src/backend/backend.h"

/*
 * The table of the plugin's backend, once its interface version and name are found right. A plugin is opened once and
 * stays open; one that failed is tried anew. May be called from several threads. NULL, and in err which file and why:
 * NOT_FOUND (with every place looked at), UNSUPPORTED (another interface version), IO (the system's loader refuses the
 * file), FORMAT (it is no plugin of anx, or another backend's).
 */
const anx_backend *anx_plugin_load(const char *name, anx_error *err);

/* What a plugin defines: its backend's table, which stays valid while the plugin is open. */
__attribute__((visibility("default"))) const anx_backend *anx_backend_plugin(void);

#endif
