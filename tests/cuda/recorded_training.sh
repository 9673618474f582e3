#!/usr/bin/env bash
# recorded_training.sh BIN_DIR: PyTorch's recorded training steps on the double, every operator's gradients, SGD, and
# steps of the engine's own.
set -uo pipefail
bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Memory of hundreds of megabytes is used again and again: to give it back each time takes a fifth of the time.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184
"$bin/anx-convert" init --arch alexnet --seed 0 -o "$work/alexnet.pth" 2>/dev/null || exit 1
"$bin/anx-parity" check --train --device cuda "$work/alexnet.pth" >"$work/check" 2>&1 || {
    cat "$work/check"
    exit 1
}
tail -n 1 "$work/check"
grep -q 'PASS  4[0-9][0-9] passed, 0 failed, 0 warnings, 0 skipped' "$work/check"
