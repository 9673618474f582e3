#!/usr/bin/env bash
# headers.sh CC SOURCE_DIR: NVIDIA's headers, wherever they are installed, against the table of functions; and a table
# with a mistake in it, which they must refuse. Headers that lack some they include themselves (PyTorch's packages have
# no crt/, which nvidia-cuda-crt brings) are named and passed over.
set -uo pipefail
cc=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Each line: include folders that belong together. NVIDIA's Debian packages have cuDNN's where the system's own are.
candidates() {
    [ -z "${ANX_CUDA_INCLUDE:-}" ] || printf '%s\n' "${ANX_CUDA_INCLUDE//:/ }"
    for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /usr; do
        [ -n "$home" ] && [ -f "$home/include/cuda_runtime_api.h" ] && echo "$home/include /usr/include"
    done
    for packages in "${VIRTUAL_ENV:-/nowhere}"/lib/python3*/site-packages/nvidia; do
        [ -d "$packages/cudnn/include" ] || continue
        [ -d "$packages/cu13/include" ] && echo "$packages/cu13/include $packages/cudnn/include"
        [ -d "$packages/cuda_runtime/include" ] &&
            echo "$packages/cuda_runtime/include $packages/cublas/include $packages/cudnn/include" \
                "$packages/cuda_nvcc/include"
    done
}

# isystem FOLDER...: sets options
isystem() {
    options=()
    for folder in "$@"; do options+=(-isystem "$folder"); done
}

# complete FOLDER...: the headers by themselves; their errors on stdout
complete() {
    isystem "$@"
    grep '^#include <' "$source/tests/cuda/headers.c" | "$cc" -std=c11 -E -x c "${options[@]}" -o /dev/null - 2>&1
}

# compile SOURCE_DIR FOLDER...: its errors on stdout
compile() {
    local from=$1
    shift
    isystem "$@"
    "$cc" -std=c11 -fsyntax-only -Werror=incompatible-pointer-types -I"$from" "${options[@]}" \
        "$from/tests/cuda/headers.c" 2>&1
}

failed=0 tried=0
while read -r -a folders; do
    all=()
    for name in cuda_runtime_api.h cublas_v2.h cublasLt.h cudnn.h; do
        for folder in "${folders[@]}"; do [ -f "$folder/$name" ] && all+=("$name") && break; done
    done
    [ "${#all[@]}" = 4 ] || continue
    echo "${folders[*]}"
    if ! missing=$(complete "${folders[@]}"); then
        echo "  incomplete, skipped: $(grep -m1 'error:' <<<"$missing")"
        continue
    fi
    tried=$((tried + 1))
    if ! compile "$source" "${folders[@]}"; then
        echo "  the table does not agree"
        failed=1
        continue
    fi
    # A size where a count belongs, a wrong number, a function that is not there, a structure that is too short.
    for mistake in 's/cudaMalloc, (void \*\*p, size_t bytes)/cudaMalloc, (void **p, int bytes)/' \
        's/ANX_CU_FMA_MATH, CUDNN_FMA_MATH, 3/ANX_CU_FMA_MATH, CUDNN_FMA_MATH, 2/' \
        's/X(cublas, unsigned, cublasSdgmm/X(cublas, unsigned, cublasSdgmn/' \
        's/uint64_t rows, uint64_t columns, int64_t ld/uint64_t rows, uint64_t columns, int ld/' \
        's/int reserved\[4\]/int reserved[2]/'; do
        rm -rf "$work/tree"
        mkdir -p "$work/tree/src/backend/cuda" "$work/tree/tests/cuda"
        cp "$source/tests/cuda/headers.c" "$work/tree/tests/cuda"
        sed "$mistake" "$source/src/backend/cuda/api_table.h" >"$work/tree/src/backend/cuda/api_table.h"
        cmp -s "$source/src/backend/cuda/api_table.h" "$work/tree/src/backend/cuda/api_table.h" &&
            echo "  the mistake is not in the table: $mistake" && failed=1
        compile "$work/tree" "${folders[@]}" >/dev/null && echo "  not noticed: $mistake" && failed=1
    done
done < <(candidates | awk '!seen[$0]++')
if [ "$tried" = 0 ]; then
    echo "no complete headers of CUDA and cuDNN are installed here"
    case "${ANX_TESTS_NO_SKIP:-0}" in 0 | "") exit 77 ;; *) exit 1 ;; esac
fi
exit $failed
