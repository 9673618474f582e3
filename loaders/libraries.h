/* The libraries that files are read with, for reports: their versions decide what a decoder gives. */
#ifndef ANX_LOADERS_LIBRARIES_H
#define ANX_LOADERS_LIBRARIES_H

typedef struct anx_library {
    const char *name, *version; /* "libpng", "1.6.39" */
} anx_library;

/* The i-th library; name is NULL past the end. Versions are those running, where a library can say so. */
anx_library anx_loaders_library(int i);

#endif
