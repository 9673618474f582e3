#!/bin/sh
# anx-convert init: usage, exit codes, names, what is left behind.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
convert=$bin/anx-convert

digest() { sha256sum "$1" | cut -d' ' -f1; }

# --- the file: PyTorch 2.15 wrote one with this digest for torch.manual_seed(1); alexnet(num_classes=10)
expect 0 "$convert" init --arch alexnet --seed 1 --num-classes 10 -o alexnet-10-seed1.pth
out <<'TEXT'
alexnet-10-seed1.pth: alexnet, seed 1, 10 classes, 57044810 parameters, 228185721 bytes
TEXT
: | err
[ "$(digest alexnet-10-seed1.pth)" = c6c283873658947bcebdddd239c066ceb172d93db037fa5a640c8bd7efbf2ac8 ] ||
    fail "alexnet-10-seed1.pth is not what torch.save writes"

# --- nothing is overwritten unasked
echo precious >there.pth
expect 2 "$convert" init --arch alexnet --seed 0 -o there.pth
: | out
err <<'TEXT'
anx-convert: there.pth: exists already and is not overwritten unless forced
anx-convert: --force overwrites it
TEXT
[ "$(cat there.pth)" = precious ] || fail "there.pth was touched"

# --- trouble
expect 2 "$convert" init --arch alexnet --seed 0 -o nowhere/x.pth
err <<'TEXT'
anx-convert: nowhere/x.pth: cannot create a file in its folder: No such file or directory
TEXT
expect 2 "$convert" init --arch alexnet --seed 0 -o /dev/full
err <<'TEXT'
anx-convert: /dev/full: cannot write: No space left on device
TEXT
expect 2 sh -c "ulimit -f 100; exec '$convert' init --arch alexnet --seed 0 -o small.pth"
err <<'TEXT'
anx-convert: small.pth: cannot write: File too large
TEXT

# --- usage
usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$convert" init "$@"
    : | out
    printf "anx-convert: %s\nTry 'anx-convert init --help'.\n" "$said" | err
}
seed_range='is not a whole number from -9223372036854775808 to 18446744073709551615, which torch.manual_seed takes'
for seed in 18446744073709551616 -9223372036854775809 1.5 '' - 0x10 ten ' 3' 99999999999999999999999; do
    usage "--seed '$seed' $seed_range" --arch alexnet --seed "$seed" -o x.pth
done
for k in 0 -1 '' 1e3 9223372036854775808; do
    usage "--num-classes '$k' is not a whole number, 1 or more" --arch alexnet --seed 0 --num-classes "$k" -o x.pth
done
usage "--arch is missing" --seed 0 -o x.pth
usage "--seed is missing" --arch alexnet -o x.pth
usage "-o is missing: the file to write" --arch alexnet --seed 0
usage "init writes a file, not to standard output; a file of that name is ./-" --arch alexnet --seed 0 -o -
usage "unknown architecture 'vgg'; there is: alexnet" --arch vgg --seed 0 -o x.pth
usage "unexpected argument 'more'" --arch alexnet --seed 0 -o x.pth more
usage "unknown option '--sead'" --sead 0
usage "unknown option '-x'" -x
usage "option '--seed' needs a value" --arch alexnet --seed
usage "option '-o' needs a value" --arch alexnet --seed 0 -o
usage "option '--force=yes' takes no value" --force=yes
usage ".pth: an invalid name for a checkpoint: nothing stands before its ending; try \"model.pth\"" \
    --arch alexnet --seed 0 -o .pth
usage "--num-classes 2147483648: the layer's output would have more than 2147483647 elements" \
    --arch alexnet --seed 0 --num-classes 2147483648 -o x.pth

# --- a file that cannot fit is refused before the disk is filled
expect 2 "$convert" init --arch alexnet --seed 0 --num-classes 2147483647 -o x.pth
grep -q '^anx-convert: x.pth: needs [0-9]* bytes, and [0-9]* are free on its file system$' .err ||
    fail "lack of room is said as: $(cat .err)"
ls -A | grep -q 'x\.pth' && fail "something was left behind: $(ls -A)"

# --- the command itself
expect 64 "$convert"
: | out
expect 64 "$convert" inti
err <<'TEXT'
anx-convert: 'inti' is no subcommand, and to convert a file of that name OUT is missing
Try 'anx-convert --help'.
TEXT
expect 0 "$convert" --version
out <<'TEXT'
anx-convert 0.1.0
TEXT
expect 0 "$convert" init --help
: | err
grep -q 'anx-convert init --arch alexnet --seed 0 -o alexnet-seed0.pth' .out || fail "--help has no example"
expect 2 sh -c "'$convert' --help >/dev/full"
err <<'TEXT'
anx-convert: cannot write to standard output: No space left on device
TEXT

# --- an interruption leaves nothing behind: the pipe keeps the command writing until the signal has come
mkdir stopped
"$convert" init --arch alexnet --seed 0 -o stopped/a.pth &
pid=$!
tries=0
while [ -z "$(ls -A stopped)" ] && [ $tries -lt 2000 ]; do tries=$((tries + 1)); done
kill -TERM $pid
code=0
wait $pid 2>/dev/null || code=$?
[ "$code" -eq 143 ] || fail "exit $code after SIGTERM, expected 143"
[ -z "$(ls -A stopped)" ] || fail "left behind: $(ls -A stopped)"

[ -z "$(ls -A | grep -vxE 'alexnet-10-seed1.pth|there.pth|stopped|\.(out|err|wanted|failures)')" ] || fail "left behind: $(ls -A)"
finish
