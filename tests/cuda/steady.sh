#!/usr/bin/env bash
# steady.sh STEADY DOUBLE_DIR: the calls of one batch once everything is set up: what goes over the bus, how often the
# host waits, and how many calls compute. What they cost the host is printed, not judged.
set -uo pipefail
steady=$1 double=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ANX_CUDA_PATH=$double OMP_WAIT_POLICY=passive
unset "${!FAKECUDA_@}"
failed=0

# calls MODE FEW MANY: what MANY - FEW batches more add to the trace, a batch of them, sorted by name
calls() {
    local n
    for n in "$2" "$3"; do
        FAKECUDA_TRACE=$work/trace "$steady" "$1" "$n" >/dev/null || exit 1
        sed 's/(.*//' "$work/trace" | LC_ALL=C sort | uniq -c | awk '{print $2, $1}' >"$work/$n"
    done
    LC_ALL=C join -a 2 -e 0 -o 0,1.2,2.2 "$work/$2" "$work/$3" |
        awk -v few="$2" -v many="$3" '$3 != $2 {print $1, ($3 - $2) / (many - few)}'
}

check() {
    local name=$1 expected=$2 got=$3
    [ "$got" = "$expected" ] && return
    echo "$name: expected, then got:"
    diff <(echo "$expected") <(echo "$got")
    failed=1
}

# Pieces of work until a plan is made, and a few more: what it found out by computing is as ever, the rest is dropped.
settling=200

# One upload, one download; a call for each of conv+bias+ReLU, pooling, product+bias, ReLU behind that.
check "a forward pass" "cublasLtMatmul 3
cudaEventRecord 2
cudaMemcpyAsync 2
cudaSetDevice 4
cudaStreamSynchronize 2
cudaStreamWaitEvent 2
cudnnActivationForward 2
cudnnConvolutionBiasActivationForward 5
cudnnPoolingForward 3" "$(FAKECUDA_COMPUTE=$settling calls infer 10 20)"
check "groups of a forward pass, each of which computes in one call" $((3 + 2 + 5 + 3)) "$("$steady" infer 0)"

# Up: images, two masks, the gradient of the logits; down: the logits, for which the host waits (on both streams).
check "a training step" "cublasLtMatmul 3
cublasSaxpy_v2 4
cublasSdgmm 4
cublasSgeam 8
cublasSgemm_v2 6
cudaMemcpyAsync 5
cudaSetDevice 9
cudaStreamSynchronize 2
cudnnActivationBackward 7
cudnnActivationForward 2
cudnnConvolutionBackwardBias 8
cudnnConvolutionBackwardData 4
cudnnConvolutionBackwardFilter 5
cudnnConvolutionBiasActivationForward 5
cudnnPoolingBackward 3
cudnnPoolingForward 3" "$(calls train 1 3)"

# What cuBLASLt does not do cuBLAS does, however it says so.
for code in 7 8 15; do
    FAKECUDA_COMPUTE=$settling FAKECUDA_FAIL=cublasLtMatmulAlgoGetHeuristic:1=$code "$steady" infer 1 >/dev/null ||
        { echo "no plan where cuBLASLt's heuristic answers $code"; failed=1; }
done

# A batch that does not fit is refused with one that does; that one does fit, and it is not a timid guess.
export FAKECUDA_COMPUTE=off FAKECUDA_MEM=2000000000
for mode in infer train; do
    said=$("$steady" "$mode" 1 4096 2>&1)
    [ $? != 0 ] || { echo "$mode: a batch of 4096 fits"; failed=1; }
    fits=$(sed -n 's/.*asks for .* MiB of memory on cuda:0, where .* MiB are free; a batch of \([0-9]*\) would fit.*/\1/p' <<<"$said")
    if [ -z "$fits" ]; then
        echo "$mode: no batch that would fit: $said"
        failed=1
        continue
    fi
    "$steady" "$mode" 1 "$fits" >/dev/null 2>&1 || { echo "$mode: $fits do not fit"; failed=1; }
    "$steady" "$mode" 1 $((fits * 5 / 4)) >/dev/null 2>&1 && { echo "$mode: more than $fits fit"; failed=1; }
done
said=$(FAKECUDA_MEM=250000000 "$steady" infer 1 1 2>&1)
case $said in *"too little for one image"*) ;; *)
    echo "one image in 250 MB: $said"
    failed=1
    ;;
esac
unset FAKECUDA_MEM

echo "a forward pass costs the host $(FAKECUDA_COMPUTE=$settling "$steady" infer 2000) microseconds at batch 1"
exit $failed
