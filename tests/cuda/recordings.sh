#!/usr/bin/env bash
# recordings.sh BIN_DIR: everything that PyTorch recorded, on the double: each layer of each image, training steps, every
# operator's gradients, SGD, and steps of the engine's own.
set -uo pipefail
bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "$*"
    failed=1
}
"$bin/anx-convert" init --arch alexnet --seed 0 -o "$work/alexnet.pth" 2>/dev/null || exit 1
# Not both in one: with --full the operators of every fourth recorded step are judged, which takes a minute more.
for what in --full --train; do
    "$bin/anx-parity" check $what --device cuda "$work/alexnet.pth" >"$work/check" 2>&1 || fail "$(cat "$work/check")"
    tail -n 1 "$work/check"
    case $(tail -n 1 "$work/check") in
    'PASS  '[1-9]*' passed, 0 failed, 0 warnings, 0 skipped'*) ;;
    *) fail "$what: not all was judged, or not passed" ;;
    esac
done
grep -q "cuDNN 9.19.0" "$work/check" || fail "the report does not name cuDNN"
tr -s ' \n' ' ' <"$work/check" | grep -q "never on a GPU" || fail "the report does not say that no GPU verified this device"
exit $failed
