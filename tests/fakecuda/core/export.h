/* What one of the double's libraries calls of another is declared between these; all else stays hidden. */
#ifndef ANX_TESTS_FAKECUDA_CORE_EXPORT_H
#define ANX_TESTS_FAKECUDA_CORE_EXPORT_H

#define FAKE_EXPORT __attribute__((visibility("default")))

#endif
