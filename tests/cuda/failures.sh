#!/usr/bin/env bash
# failures.sh LIFE DOUBLE_DIR [EVERY]: a whole life of a device (cuda_life) on the double, with a failure put in: each
# call by itself, with the error that is typical of it; each function's first, middle and last call with each of its
# errors; each piece of work failing late; each allocation refused. Whatever fails, the life ends with its sentence, or
# well where only clean-up failed; nothing is leaked (87), misused (86), or hung. EVERY: only every n-th call,
# and each function's middle one.
set -uo pipefail
life=$1 double=$2 every=${3:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ANX_CUDA_PATH=$double OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
unset "${!FAKECUDA_@}"

FAKECUDA_TRACE=$work/trace "$life" >"$work/good" || { echo "the life fails by itself"; exit 1; }
FAKECUDA_TRACE=$work/again "$life" >"$work/good2" || exit 1
cmp -s "$work/trace" "$work/again" || { echo "two lives make different calls"; exit 1; }
cmp -s "$work/good" "$work/good2" || { echo "two lives come to different bits"; exit 1; }
FAKECUDA_PAGEABLE=late "$life" >"$work/good2" || { echo "it fails where pageable copies come late"; exit 1; }
cmp -s "$work/good" "$work/good2" || { echo "it depends on when pageable copies are made"; exit 1; }
calls=$(wc -l <"$work/trace")
sed 's/(.*//' "$work/trace" | sort | uniq -c | awk '{print $2, $1}' >"$work/functions"

# One life. It ends well, or with a sentence on stderr that says what was being done.
try() {
    local rc said out=$work/out.$BASHPID
    # shellcheck disable=SC2086 # several settings
    said=$(env $1 timeout 60 "$life" 2>&1 >"$out")
    rc=$?
    case $rc in
    0) # only clean-up failed, or nothing did: then the results are whole
        cmp -s "$work/good" "$out" || echo "$1: ended well with other results" ;;
    2) case $1,$said in *ASYNC*"lost the GPU"*) ;; *ASYNC*) echo "$1: exit 2 without saying that the GPU is lost: '$said'" ;; esac
        case $said in
        *CUDA* | *cuBLAS* | *cuDNN* | *memory* | *driver* | *GPU*) ;;
        *) echo "$1: exit 2 without saying what failed: '$said'" ;;
        esac ;;
    *) echo "$1: exit $rc: $(tail -n 3 <<<"$said")" ;;
    esac
    rm -f "$out"
}

list() {
    local n name count code
    for ((n = 1; n <= calls; n += every)); do echo "FAKECUDA_FAIL=$n"; done
    while read -r name count; do
        case $name in
        cudaGetLastError) continue ;;
        cuda*) codes="2 700 719 999" ;;
        cublasLt*) codes="1 3 7 13 14 15" ;;
        cublas*) codes="1 3 13 14" ;;
        *) codes="1001 2000 3000 5000" ;;
        esac
        for code in $codes; do
            if [ "$every" = 1 ]; then
                for n in 1 $(((count + 1) / 2)) "$count"; do echo "FAKECUDA_FAIL=$name:$n=$code"; done | sort -u
            else
                echo "FAKECUDA_FAIL=$name:$(((count + 1) / 2))=$code"
            fi
        done
    done <"$work/functions"
    for ((n = 1; n <= 400; n += every)); do
        echo "FAKECUDA_ASYNC=$n=700"
        echo "FAKECUDA_WORK=early FAKECUDA_ASYNC=$n=719" # the library that is asked next sees it first
    done
    for ((n = 2; n <= calls; n += 2 * every)); do echo "FAKECUDA_PAGEABLE=late FAKECUDA_FAIL=$n"; done
    for ((n = 1; n <= 120; n += every > 4 ? 4 : every)); do echo "FAKECUDA_ALLOC_FAIL=$n"; done
    for n in 1000 100000 33000000 33700000 34000000 34500000 35000000 36000000; do echo "FAKECUDA_MEM=$n"; done
}

export -f try
export life work good every
list >"$work/list"
xargs -a "$work/list" -P 2 -I{} bash -c 'try "$1"' _ {} >"$work/bad" 2>&1
echo "$(wc -l <"$work/list") failures, $calls calls in a life"
if [ -s "$work/bad" ]; then
    sort "$work/bad" | uniq -c | sort -rn | head -40
    exit 1
fi
