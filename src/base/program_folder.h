/* Places told from where the running program lies, right wherever an installation was moved to. */
#ifndef ANX_SRC_BASE_PROGRAM_FOLDER_H
#define ANX_SRC_BASE_PROGRAM_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* The program's own folder, '/', and relative; false, and "" in folder, where that cannot be told. */
bool anx_beside_program(const char *relative, char *folder, size_t size);

#endif
