#!/bin/sh
# anx-parity check: exit codes, usage, where data is looked for. What it judges is tested elsewhere.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
parity=$bin/anx-parity
"$bin/anx-convert" init --arch narrow --seed 3 -o narrow.pth >/dev/null || exit 2
"$bin/anx-convert" init --arch narrow --seed 4 -o other.pth >/dev/null || exit 2

# Without recordings but where they are the matter: a check is then a matter of milliseconds.
mkdir -p none/fixtures
ANX_DATA_DIR=$work/none
OMP_NUM_THREADS=1
export ANX_DATA_DIR OMP_NUM_THREADS

last_line_is() { # a pattern of grep -E
    tail -1 .out | grep -qE "$1" || fail "last line '$(tail -1 .out)' of: $last"
}

# --- pass, fail
expect 0 "$parity" check --data-dir "$ANX_SOURCE_DIR" narrow.pth
last_line_is '^PASS  [1-9][0-9]* passed, 0 failed, 0 warnings, 1 skipped in [0-9]+\.[0-9]{2} s$'
expect 1 "$parity" check --strict narrow.pth
last_line_is '^FAIL  [1-9][0-9]* passed, 0 failed, 0 warnings, 1 skipped in'
for device in auto cpu cpu:0 exact reference; do
    expect 0 "$parity" check --device $device --points 'features.0,prob' --threads 1 narrow.pth
    last_line_is '^PASS'
done
grep -q '^judged      reference' .out || fail "--device reference is not what was judged"

# --- a full disk behind standard output: no reason is made up
expect 2 sh -c "'$parity' check narrow.pth >/dev/full"
err <<'TEXT'
anx-parity: no recordings found; judged by arithmetic alone (--fixtures PATH names recordings)
anx-parity: cannot write all of the output to standard output
TEXT

# --- somebody else's activations: our own pass, those of other weights fail at the first layer
"$parity" dump --device exact --input /dev/null -o x.safetensors narrow.pth 2>/dev/null && fail "/dev/null as an input"
expect 0 "$parity" dump --image "$ANX_SOURCE_DIR/tests/cli/gray.png" --device exact -o dump.safetensors narrow.pth
expect 0 "$parity" check --against dump.safetensors narrow.pth
expect 1 "$parity" check --against dump.safetensors other.pth
grep -q '^First bad point: features.0 (conv2d)' .out || fail "other weights are not noticed at features.0"

# --- where recordings are looked for: a broken one tells which folder was taken
broken() {
    mkdir -p "$1/fixtures"
    echo broken >"$1/fixtures/broken.safetensors"
}
taken() { # the path in the message
    : | out
    grep -q "^anx-parity: $1/fixtures/broken.safetensors: " .err || fail "not from $1 but: $(cat .err)"
}
broken "$work/flag"
broken "$work/environment"
expect 2 env ANX_DATA_DIR="$work/environment" "$parity" check --data-dir "$work/flag" narrow.pth
taken "$work/flag"
expect 2 env ANX_DATA_DIR="$work/environment" "$parity" check narrow.pth
taken "$work/environment"
expect 2 env -u ANX_DATA_DIR "$parity" check --fixtures flag/fixtures narrow.pth
taken flag
expect 2 "$parity" check --fixtures flag/fixtures/broken.safetensors narrow.pth
taken flag
expect 2 "$parity" check --data-dir "$work/nowhere" narrow.pth
err <<TEXT
anx-parity: --data-dir names a folder without fixtures, which comes with anx. Looked for:
  $work/nowhere/fixtures
TEXT
expect 2 env ANX_DATA_DIR="$work/nowhere" "$parity" check narrow.pth
err <<TEXT
anx-parity: ANX_DATA_DIR names a folder without fixtures, which comes with anx. Looked for:
  $work/nowhere/fixtures
TEXT
if command -v cmake >/dev/null && cmake --install "$ANX_BUILD_DIR" --prefix "$work/installed" >/dev/null 2>&1; then
    mv installed moved
    broken "$work/moved/share/anx"
    expect 2 env -u ANX_DATA_DIR moved/bin/anx-parity check narrow.pth
    : | out
    grep -q "moved/bin/../share/anx/fixtures/broken.safetensors: " .err || fail "a moved installation: $(cat .err)"
    rm moved/share/anx/fixtures/broken.safetensors
    expect 0 env ANX_DATA_DIR= moved/bin/anx-parity check -v narrow.pth
    grep -q '^recordings' .out && grep -q 'preprocess: ' .out || fail "the moved recordings are not used"
    [ "$(find moved -name anx_backend_cuda.so | wc -l)" = 1 ] || fail "the cuda plugin is not installed"
    for page in anx-parity anx-convert anx-eval anx-train; do
        [ -s moved/share/man/man1/$page.1 ] || fail "$page.1 is not installed"
    done
else
    fail "cmake --install"
fi

# --- reports
expect 0 "$parity" check --json report.json --junit report.xml narrow.pth
grep -q '"verdict":	"pass"' report.json || fail "report.json"
grep -q '^<testsuites ' report.xml || fail "report.xml"
expect 0 "$parity" check --json report.json narrow.pth # replaced without asking
expect 0 "$parity" check --json - narrow.pth
head -1 .out | grep -q '^{$' || fail "--json - does not begin standard output"
grep -q '^PASS  ' .err || fail "--json - leaves no text on standard error"
expect 2 "$parity" check --json nowhere/report.json narrow.pth
grep -q '^PASS  ' .out || fail "the text is shown even where the JSON cannot be written"
tail -1 .err >.wanted
grep -q '^anx-parity: nowhere/report.json: cannot create a file in its folder: No such file or directory$' .wanted ||
    fail "$(cat .err)"

# --- trouble
trouble() {
    said=$1
    shift
    expect 2 "$parity" check "$@"
    : | out
    grep -v 'no recordings found' .err >.tail
    echo "anx-parity: $said" | same .tail "standard error"
}
trouble "nothing.pth: cannot open: No such file or directory" nothing.pth
trouble "nothing.jpg: cannot open: No such file or directory" --image nothing.jpg narrow.pth
trouble "nothing.safetensors: cannot open: No such file or directory" --against nothing.safetensors narrow.pth

# --- a record whose CRC-32 does not match: damaged, unless one insists
damage narrow.pth damaged.pth
expect 2 "$parity" check damaged.pth
grep -q "entry 'narrow/data/[0-9]*': its CRC-32 is .*--accept-bad-crc reads such a file all the same$" .err || fail "$(cat .err)"
expect 0 "$parity" check --accept-bad-crc --json damaged.json damaged.pth
grep -q '^            1 record accepted though the CRC-32 does not match$' .out || fail "nothing is said of the CRC-32"
grep -q '"bad_crc_records":	1,' damaged.json || fail "nothing in the JSON of the CRC-32"
expect 2 "$parity" dump --image "$ANX_SOURCE_DIR/tests/cli/gray.png" --points logits -o d.safetensors damaged.pth
expect 0 "$parity" dump --accept-bad-crc --image "$ANX_SOURCE_DIR/tests/cli/gray.png" --points logits -o d.safetensors \
    damaged.pth

# --- training, of weights that nothing is recorded of
expect 0 "$parity" check --train --device cpu --json train.json narrow.pth
grep -q '^training skip: no recorded training applies to these weights' .out || fail "nothing is said of the recordings"
grep -q "^Training, each operator's gradients, fed what PyTorch had$" .out || fail "no table of gradients"
grep -q '^  classifier.3.weight .* fp64  *pass$' .out || fail "the last layer's gradient is not judged"
grep -q '"path":	"train-update"' train.json || fail "no updates in the JSON"
expect 1 "$parity" check --train --strict narrow.pth

# --- usage
usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$parity" check "$@"
    : | out
    printf "anx-parity: %s\nTry 'anx-parity check --help'.\n" "$said" | err
}
usage "a checkpoint is missing: the file to check"
usage "unexpected argument 'b.pth'" a.pth b.pth
usage "unknown device 'gpu'; there is: auto, cuda, cpu, reference, exact" --device gpu a.pth
usage "unknown device 'cpu:x'; there is: auto, cuda, cpu, reference, exact" --device cpu:x a.pth
usage "--threads '0' is not a whole number from 1 to 4096" --threads 0 a.pth
usage "--points: no point matches 'featurs.*'" --points 'logits,featurs.*' a.pth
usage "--points: no point matches ''" --points '' a.pth
usage "--against judges a dump instead of a device: give one or the other" --against d --device cpu a.pth
usage "--train judges a device: a dump does not train" --train --against d a.pth
usage "only one of --json and --junit can go to standard output" --json - --junit - a.pth
ln -s narrow.pth narrow-link
usage "--json 'narrow-link' is the checkpoint itself" --json narrow-link narrow.pth
usage "--junit 'narrow.pth' is the checkpoint itself" --junit narrow.pth ./narrow.pth
rm narrow-link
usage "option '--json' needs a value" a.pth --json
usage "unknown option '--jsn'" --jsn a.pth

# --- the command itself
expect 64 "$parity" chekc
err <<'TEXT'
anx-parity: unknown subcommand 'chekc'
Try 'anx-parity --help'.
TEXT
expect 0 "$parity" --version
out <<'TEXT'
anx-parity 0.1.0
TEXT
expect 0 "$parity" check --help
grep -q 'anx-parity check --full --strict --junit parity.xml alexnet-seed0.pth' .out || fail "--help has no example"
finish
