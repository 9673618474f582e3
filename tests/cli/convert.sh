#!/bin/sh
# anx-convert IN OUT: formats, changes, exit codes, and what is left behind when something goes wrong.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
convert=$bin/anx-convert
expect 0 "$convert" init --arch alexnet --seed 0 -o model.pth

# --- every format, and back to the same file
expect 0 "$convert" model.pth a.safetensors
out <<'TEXT'
a.safetensors: safetensors, 16 tensors, 61100840 elements, 244405976 bytes, from PyTorch zip
TEXT
: | err
expect 0 "$convert" pth2bin model.pth a.bin
out <<'TEXT'
a.bin: bin, 16 tensors, 61100840 elements, 244406048 bytes, from PyTorch zip
TEXT
mkdir back
for from in model.pth a.safetensors a.bin; do
    expect 0 "$convert" "$from" back/model.pth --force
    cmp model.pth back/model.pth || fail "$from does not become model.pth again"
done
expect 0 "$convert" bin2pth a.bin back/model.pth --force
cmp model.pth back/model.pth || fail "a.bin does not become model.pth again"
expect 0 "$convert" a.safetensors b.bin
cmp a.bin b.bin || fail "a.bin and b.bin differ"
expect 0 "$convert" a.bin - --to safetensors
cmp a.safetensors .out || fail "standard output differs from a.safetensors"
err <<'TEXT'
standard output: safetensors, 16 tensors, 61100840 elements, 244405976 bytes, from anx bin
TEXT

expect 0 sh -c "'$convert' a.bin /dev/stdout --to safetensors | cat"
cmp a.safetensors .out || fail "something else is written behind a checkpoint on /dev/stdout"
err <<'TEXT'
/dev/stdout: safetensors, 16 tensors, 61100840 elements, 244405976 bytes, from anx bin
TEXT

# --- the engine takes bin and safetensors as it takes .pth: the recordings of seed 0 are found and reproduced
for name in a.bin a.safetensors; do
    expect 0 "$bin/anx-parity" check $name --data-dir "$ANX_SOURCE_DIR"
    grep -q '^PASS ' .out || fail "$name does not pass: $(tail -1 .out)"
done
rm -f a.safetensors b.bin

# --- raw and its header: a C program that includes it finds the bias
expect 0 "$convert" model.pth w.raw --header weights.h --only 'features.*'
out <<'TEXT'
w.raw: raw, 10 tensors, 2469696 elements, 9878784 bytes, from PyTorch zip
TEXT
cat >reader.c <<'C'
#include <stdio.h>
#include "weights.h"
static const struct { const char *name; long offset, count; int rank; int shape[8]; } table[] = { W_TABLE };
int main(void) {
    float bias;
    long floats = 0;
    FILE *f = fopen("w.raw", "rb");
    if (f == NULL || fseek(f, 4L * W_FEATURES_3_BIAS_OFFSET, SEEK_SET) != 0 || fread(&bias, 4, 1, f) != 1) return 2;
    for (int i = 0; i < W_TENSORS; i++) floats += table[i].count;
    printf("%s %ld %d %d %.9g %d\n", table[2].name, table[2].offset, table[2].shape[0], W_FEATURES_3_BIAS_COUNT, bias,
           floats == W_FLOATS);
    return 0;
}
C
if command -v cc >/dev/null; then
    expect 0 cc -std=c11 -Wall -Wextra -Werror -pedantic -o reader reader.c
    expect 0 ./reader
    # the bias itself, by its place in the zip: found by the values of PyTorch (seed 1: features.3.bias[0])
    grep -q '^features.3.weight 23296 192 192 -\{0,1\}[0-9.e-]* 1$' .out || fail "the header leads to: $(cat .out)"
fi
usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$convert" "$@"
    : | out
    printf "anx-convert: %s\nTry 'anx-convert --help'.\n" "$said" | err
}
formats='pth|safetensors|bin|raw'
usage "'model.pth' is no subcommand, and to convert a file of that name OUT is missing" model.pth
usage "IN and OUT are missing: the checkpoint to read and the one to write" --force
usage "unexpected argument 'c'" model.pth b.pth c
usage "the name 'b' does not tell a format: --to $formats" model.pth b
usage "the name 'b.d/c' does not tell a format: --to $formats" model.pth b.d/c
usage "the format to write to standard output is missing: --to $formats" model.pth -
usage "--to 'zip': there is no such format; there is: $formats" model.pth b --to zip
usage "--dtype 'f8': f32, f16, bf16 or f64 was expected" model.pth b.pth --dtype f8
usage "--rename 'a': FROM=TO was expected, e.g. classifier.6=head" model.pth b.pth --rename a
usage "--rename '=a': FROM=TO was expected, e.g. classifier.6=head" model.pth b.pth --rename =a
usage "--only needs a value that is not empty" model.pth b.pth --only ''
usage "--rename 'a=': FROM=TO was expected, e.g. classifier.6=head" model.pth b.pth --rename a=
usage "the name of the file to read is empty" '' b.pth
expect 2 "$convert" model.pth b.pth --only 'features.*' --only 'classifer.*'
echo "anx-convert: model.pth: --only 'classifer.*': no tensor's name matches" | err
[ -e b.pth ] && fail "b.pth was written though a pattern matched nothing"
expect 64 "$convert" pth2bin model.pth
printf "anx-convert: OUT is missing: the file to write\nTry 'anx-convert pth2bin --help'.\n" | err
usage "--header goes with raw; pth says itself where its tensors are" model.pth b.pth --header b.h
usage "standard input cannot be read: a checkpoint is mapped, not read in one go; give a file" - b.pth
usage "unknown option '--too'" model.pth b --too pth
usage '.pth: an invalid name for a checkpoint: nothing stands before its ending; try "model.pth"' model.pth .pth
expect 0 "$convert" model.pth half.pth --dtype f16 --only 'features.*'
usage 'b.raw: raw holds float32 alone, and features.0.weight is float16: --dtype f32 converts it' half.pth b.raw

# --- types: explicit, and what they did is said
expect 0 "$convert" half.pth float.pth --dtype f32
out <<'TEXT'
float.pth: pth, 10 tensors, 2469696 elements, 9882789 bytes, from PyTorch zip
  2469696 values converted to float32, all exactly
TEXT

# --- nothing is overwritten unasked, nor the file that is read
echo precious >there.pth
expect 2 "$convert" model.pth there.pth
err <<'TEXT'
anx-convert: there.pth: exists already and is not overwritten unless forced
anx-convert: --force overwrites it
TEXT
expect 2 "$convert" model.pth w2.raw --header there.pth
[ "$(cat there.pth)" = precious ] || fail "there.pth was touched"
[ -e w2.raw ] && fail "w2.raw was written though its header was not"
sum=$(sha256sum <half.pth)
ln -s half.pth link.pth
ln half.pth hard.pth
for name in half.pth ./half.pth link.pth hard.pth; do
    expect 2 "$convert" half.pth $name --force
    printf 'anx-convert: %s: it is the file that is read; write to another name\n' $name | err
done
expect 2 sh -c "'$convert' half.pth - --to bin 1<>half.pth"
echo 'anx-convert: standard output: it is the file that is read; write to another name' | err
for name in half.pth link.pth; do
    expect 2 "$convert" half.pth w2.raw --dtype f32 --header $name --force
    printf 'anx-convert: %s: it is the file that is read; write to another name\n' $name | err
done
expect 2 "$convert" half.pth ./half.pth
err <<'TEXT'
anx-convert: ./half.pth: it is the file that is read; write to another name
TEXT
[ "$(sha256sum <half.pth)" = "$sum" ] || fail "half.pth was touched"
rm link.pth hard.pth
usage "--header './w2.raw': the values are written there; give it another name" half.pth w2.raw --header ./w2.raw
[ -e w2.raw ] && fail "w2.raw was written where its header was to be"

# --- permissions are what the umask leaves; a link keeps pointing, and its file is replaced
(umask 027 && "$convert" half.pth mode.pth >/dev/null)
[ "$(stat -c %a mode.pth)" = 640 ] || fail "mode.pth has mode $(stat -c %a mode.pth)"
ln -s mode.pth link.pth
expect 0 "$convert" half.pth link.pth --force --only features.0.bias
[ -L link.pth ] && [ "$(wc -c <mode.pth)" -lt 5000 ] || fail "the link was replaced, or its file was not"

# --- trouble leaves the old file whole and nothing new
cp half.pth old.pth
whole() { cmp -s half.pth old.pth || fail "old.pth was touched by: $last"; }
expect 2 sh -c "ulimit -f 100; exec '$convert' model.pth old.pth --force"
err <<'TEXT'
anx-convert: old.pth: cannot write: File too large
TEXT
whole
expect 2 "$convert" model.pth nowhere/x.pth
err <<'TEXT'
anx-convert: nowhere/x.pth: cannot create a file in its folder: No such file or directory
TEXT
usage '.: a folder; a file name to write to was expected' model.pth . --to pth
expect 2 sh -c "'$convert' model.pth - --to bin >/dev/full"
err <<'TEXT'
anx-convert: standard output: cannot write: No space left on device
TEXT
expect 2 "$convert" model.pth /dev/full --to pth
err <<'TEXT'
anx-convert: /dev/full: cannot write: No space left on device
TEXT
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then unprivileged='setpriv --reuid=65534 --regid=65534 --clear-groups'; else unprivileged=; fi
mkdir readonly && cp half.pth readonly/old.pth && chmod 555 readonly && chmod 755 .
expect 2 $unprivileged "$convert" half.pth readonly/old.pth --force
err <<'TEXT'
anx-convert: readonly/old.pth: cannot create a file in its folder: Permission denied
TEXT
cmp -s half.pth readonly/old.pth || fail "a file in a read-only folder was touched"
chmod 755 readonly && rm -r readonly
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    mkdir small
    # a file system without room: refused before it is filled; the old file stays
    expect 2 unshare -m sh -c "mount -t tmpfs -o size=12m none small && cp half.pth small/old.pth &&
        { '$convert' model.pth small/old.pth --force || code=\$?; cmp half.pth small/old.pth && [ \$(ls -A small | wc -l) = 1 ] && exit \$code; }"
    grep -q '^anx-convert: small/old.pth: needs 244403360 bytes, and [0-9]* are free on its file system$' .err ||
        fail "no room is said as: $(cat .err)"
    rmdir small
else
    echo "not run: a full file system (needs root and unshare)"
fi

# --- what cannot be mapped
expect 2 sh -c "cat half.pth | '$convert' /dev/stdin x.pth"
err <<'TEXT'
anx-convert: /dev/stdin: not a regular file
TEXT
mkfifo fifo
expect 2 "$convert" fifo x.pth
err <<'TEXT'
anx-convert: fifo: not a regular file
TEXT
expect 2 "$convert" missing.pth x.pth
err <<'TEXT'
anx-convert: missing.pth: cannot open: No such file or directory
TEXT
rm fifo

# --- killed while writing: the old file is whole, and the next run is not in the way of what was left
for tries in 1 2 3 4 5 6 7 8; do
    "$convert" model.pth old.pth --force >/dev/null 2>&1 &
    pid=$!
    waited=0
    while [ -z "$(ls -A | grep '^\.old\.pth\.')" ] && [ $waited -lt 2000 ]; do waited=$((waited + 1)); done
    kill -KILL $pid 2>/dev/null
    code=0
    wait $pid 2>/dev/null || code=$?
    if [ $code = 137 ]; then
        whole
        break
    fi
    cp half.pth old.pth
done
[ $code = 137 ] || fail "was never killed while writing"
rm -f .old.pth.*
"$convert" model.pth old.pth --force >/dev/null 2>&1 &
pid=$!
waited=0
while [ -z "$(ls -A | grep '^\.old\.pth\.')" ] && [ $waited -lt 2000 ]; do waited=$((waited + 1)); done
kill -TERM $pid
code=0
wait $pid 2>/dev/null || code=$?
[ $code = 143 ] && whole
[ -z "$(ls -A | grep '^\.old\.pth\.')" ] || fail "left behind after SIGTERM: $(ls -A)"
expect 0 "$convert" model.pth old.pth --force

# --- interrupted while it streams: what is there already is not denied
mkfifo fifo
"$convert" model.pth - --to bin >fifo 2>.err &
pid=$!
exec 3<fifo
head -c 1000 <&3 >/dev/null
kill -TERM $pid
cat <&3 >/dev/null
exec 3<&-
code=0
wait $pid 2>/dev/null || code=$?
[ $code = 143 ] || fail "interrupted while it streams: exit $code"
err <<'TEXT'
anx-convert: standard output: interrupted; what came before that was written, and is not all
TEXT
rm fifo

# --- help
for sub in '' pth2bin bin2pth; do
    expect 0 "$convert" $sub --help
    : | err
    grep -q 'Example' .out || fail "'$sub --help' has no example"
done
[ -z "$(ls -A | grep -vxE 'model.pth|a.bin|back|w.raw|weights.h|reader|reader.c|half.pth|float.pth|there.pth|mode.pth|link.pth|old.pth|\.(out|err|wanted|failures)')" ] ||
    fail "left behind: $(ls -A)"
finish
