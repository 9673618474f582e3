#!/bin/sh
# exports.sh TABLE FOLDER: each library of the double exports the functions of its part of the table, and nothing else.
table=$1
folder=$2
if ! command -v nm >/dev/null; then
    echo "SKIPPED: there is no nm" >&2
    case "${ANX_TESTS_NO_SKIP:-0}" in 0 | "") exit 77 ;; *) exit 1 ;; esac
fi
bad=0

# library, X(library, ...) of a major version: the names, sorted
named() {
    sed -n "s/^ *X($1, [^,]*, \([A-Za-z0-9_]*\),.*/\1 &/p" "$table" | while read -r name line; do
        case $line in
        *", 9, 99)"*) [ "$2" = 9 ] && echo "$name" ;;
        *", 8, 8)"*) [ "$2" = 8 ] && echo "$name" ;;
        *) echo "$name" ;;
        esac
    done | sort
}

exported() {
    nm -D --defined-only "$1" | awk '$2 != "w" { print $3 }' | sort
}

check() {
    [ "$(exported "$1")" = "$(named "$2" "$3")" ] && return
    echo "$1 exports:"
    exported "$1"
    echo "and not:"
    named "$2" "$3"
    bad=1
}

for generation in 13-9 12-9 12-8 11-8; do
    cuda=${generation%-*}
    cudnn=${generation#*-}
    runtime=libcudart.so.$cuda
    [ "$cuda" = 11 ] && runtime=libcudart.so.11.0
    check "$folder/$generation/$runtime" cudart ""
    check "$folder/$generation/libcublas.so.$cuda" cublas ""
    check "$folder/$generation/libcublasLt.so.$cuda" cublasLt ""
    check "$folder/$generation/libcudnn.so.$cudnn" cudnn "$cudnn"
done
exit $bad
