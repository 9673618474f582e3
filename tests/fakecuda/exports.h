/* The functions of the project's own table as declarations: what the double exports is what the table names. */
#ifndef ANX_TESTS_FAKECUDA_EXPORTS_H
#define ANX_TESTS_FAKECUDA_EXPORTS_H

#include "src/backend/cuda/api_table.h"
#include "tests/fakecuda/core/export.h"

#define FAKE_DECLARE(library, result, name, arguments) FAKE_EXPORT result name arguments;
#define FAKE_DECLARE_OPTIONAL(library, result, name, arguments, first, last) FAKE_EXPORT result name arguments;
ANX_CUDA_TABLE(FAKE_DECLARE)
ANX_CUDA_TABLE_OPTIONAL(FAKE_DECLARE_OPTIONAL)

/* Names every function of a part of the table, so that one that is missing is missed when the library is linked. */
#define FAKE_COMPLETE(library, result, name, arguments) .name = name,

#endif
