#include "loaders/libraries.h"

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
#include <png.h>
#include <zip.h>
#include <zlib.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

anx_library anx_loaders_library(int i) {
    switch (i) {
    case 0: return (anx_library){"libjpeg-turbo", TEXT(LIBJPEG_TURBO_VERSION)}; /* as built: it cannot be asked */
    case 1: return (anx_library){"libpng", png_get_libpng_ver(NULL)};
    case 2: return (anx_library){"libzip", zip_libzip_version()};
    case 3: return (anx_library){"zlib", zlibVersion()};
    default: return (anx_library){NULL, NULL};
    }
}
