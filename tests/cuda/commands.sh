#!/usr/bin/env bash
# commands.sh BIN_DIR SOURCE_DIR: the commands on the double, at full size: an evaluation beside exact's, a training
# twice to the same bits, a device lost in mid-run.
set -uo pipefail
bin=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset "${!FAKECUDA_@}"
failed=0
fail() {
    echo "$*"
    failed=1
}

weights=$work/alexnet.pth
"$bin/anx-convert" init --arch alexnet --seed 0 -o "$weights" 2>/dev/null || exit 1
mkdir -p "$work/images/a" "$work/images/b"
cp "$source"/fixtures/images/astronaut*.jpg "$work/images/a"
cp "$source"/fixtures/images/cat*.jpg "$source"/fixtures/images/brick.jpg "$work/images/b"
for device in cuda exact; do
    "$bin/anx-eval" predict --device $device --weights "$weights" "$work"/images/*/*.jpg 2>"$work/notes" |
        sed 's/ *[0-9.]* %//' >"$work/predicted.$device" || fail "predict on $device"
done
grep -q "never on a GPU" "$work/notes" && fail "exact has the notes of cuda"
cmp -s "$work/predicted.cuda" "$work/predicted.exact" || fail "other classes than exact's"

train() { # OUT OPTION...
    local out=$1
    shift
    "$bin/anx-train" --device cuda --data "$work/images" --weights "$weights" --batch 3 --epochs 1 -o "$work/$out" "$@"
}
FAKECUDA_TRACE=$work/trace train one >/dev/null 2>&1 && FAKECUDA_PAGEABLE=late train two >/dev/null 2>&1 || fail "training failed"
cmp -s "$work/one/last-model.pth" "$work/two/last-model.pth" || fail "two trainings come to different bits"
train own --dropout-masks device >/dev/null 2>&1 || fail "training with the device's own masks failed"
cmp -s "$work/one/last-model.pth" "$work/own/last-model.pth" && fail "the device's masks are PyTorch's"

# Lost in mid-run, at any piece of work: its sentence, exit 2, and the last checkpoint whole.
said=$(FAKECUDA_ASYNC=230=719 train lost 2>&1)
[ $? = 2 ] || fail "lost in mid-run: another exit status than 2: $said"
case $(tr -s ' \n' ' ' <<<"$said") in *"lost the GPU"*) ;; *) fail "lost in mid-run, without saying so: $said" ;; esac

# In the second epoch the first one's checkpoint is there, whole, and named.
calls=$(grep -c 'Forward\|Backward\|Sgemm\|LtMatmul(\|Sgeam\|Saxpy\|Sdgmm\|Memcpy\|Memset\|AddTensor' "$work/trace")
said=$(FAKECUDA_ASYNC=$((calls - 20))=719 train twice --epochs 2 2>&1)
[ $? = 2 ] || fail "lost in the second epoch: another exit status than 2: $said"
case $(tr -s ' \n' ' ' <<<"$said") in *"last.pth is as it was written last"*) ;; *) fail "no checkpoint is named: $said" ;; esac
"$bin/anx-convert" inspect "$work/twice/last.pth" >/dev/null 2>&1 || fail "the last checkpoint is not whole"
exit $failed
