#!/bin/sh
# anx-convert verify: what it says of files that are the same and of files that are not, exit codes, usage.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
convert=$bin/anx-convert
same_text() { # A, B and their lines about the files
    out <<TEXT
identical: 16 tensors, 57044810 elements
A           $1: PyTorch zip, $2 bytes, 16 tensors
B           $3: PyTorch zip, $4 bytes, 16 tensors
beside      not compared: _metadata in A; _metadata in B
TEXT
}

expect 0 "$convert" init --arch alexnet --seed 1 --num-classes 10 -o ten.pth
expect 0 "$convert" init --arch alexnet --seed 1 --num-classes 10 -o a-longer-name.pth

# --- the same: another file all the same, since its name is inside
cmp -s ten.pth a-longer-name.pth && fail "the two files are one"
bytes() { wc -c <"$1" | sed -e :a -e 's/\(.*[0-9]\)\([0-9]\{3\}\)/\1,\2/;ta'; }
expect 0 "$convert" verify ten.pth a-longer-name.pth
same_text ten.pth "$(bytes ten.pth)" a-longer-name.pth "$(bytes a-longer-name.pth)"
: | err

# --- four bytes: where the middle of the file is
damage ten.pth damaged.pth
expect 2 "$convert" verify ten.pth damaged.pth
: | out
grep -q '^anx-convert: damaged.pth: .*CRC-32' .err || fail "a wrong CRC-32 is said as: $(cat .err)"
expect 1 "$convert" verify --accept-bad-crc ten.pth damaged.pth
: | err
out <<TEXT
different: 15 of 16 tensors are the same; 1 differs in bits
A           ten.pth: PyTorch zip, $(bytes ten.pth) bytes, 16 tensors
B           damaged.pth: PyTorch zip, $(bytes ten.pth) bytes, 16 tensors, 1 record accepted though the
            CRC-32 does not match
beside      not compared: _metadata in A; _metadata in B

classifier.1.weight, (4096, 9216) float32: 2 of 37748736 elements differ, first at [2826, 8131]:
    -0.0024090647 in A, 1.9339721e+34 in B; largest |A - B| 1.93397e+34 at [2826, 8131]; farthest
    3012313804 ULPs at [2826, 8131]
TEXT

# --- other shapes
expect 0 "$convert" init --arch narrow --seed 3 --num-classes 5 -o five.pth
expect 0 "$convert" init --arch narrow --seed 3 --num-classes 6 -o six.pth
expect 1 "$convert" verify five.pth six.pth
grep -q '^different: .* are the same; 2 differ in shape$' .out || fail "shapes: $(cat .out)"

# --- the report as JSON
expect 1 "$convert" verify --json report.json ten.pth damaged.pth --accept-bad-crc
grep -q '^different' .out || fail "no text beside a JSON file"
grep -q '"result":[[:space:]]*"different"' report.json || fail "report.json: $(cat report.json)"
expect 0 "$convert" verify --json - ten.pth ten.pth
: | err
grep -q '^identical' .out && fail "text and JSON both on standard output"
grep -q '"result":[[:space:]]*"identical"' .out || fail "JSON: $(cat .out)"
expect 2 "$convert" verify --json nowhere/report.json ten.pth ten.pth
: | out
err <<'TEXT'
anx-convert: nowhere/report.json: cannot create a file in its folder: No such file or directory
TEXT
expect 2 sh -c "'$convert' verify five.pth five.pth >/dev/full"
err <<'TEXT'
anx-convert: cannot write to standard output: No space left on device
TEXT

# --- its advice is carried out as it is given: the prefix first, then the names behind it
expect 0 "$convert" ten.pth other.pth --rename classifier.6=head
expect 0 "$convert" other.pth prefixed.safetensors --rename features=net.features --rename classifier=net.classifier \
    --rename head=net.head
expect 1 "$convert" verify ten.pth prefixed.safetensors
advice=$(sed -n 's/^to give B the names of A: anx-convert //p' .out)
[ "$advice" = "--prefix-strip net. --rename head=classifier.6" ] || fail "the advice is: $(cat .out)"
expect 0 "$convert" prefixed.safetensors named.safetensors $advice
expect 0 "$convert" verify ten.pth named.safetensors

# --- trouble
expect 2 "$convert" verify ten.pth missing.pth
: | out
err <<'TEXT'
anx-convert: missing.pth: cannot open: No such file or directory
TEXT
echo nothing >nothing.pth
expect 2 "$convert" verify nothing.pth ten.pth
grep -q '^anx-convert: nothing.pth: an unknown kind of file' .err || fail "nothing.pth: $(cat .err)"

# --- usage
usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$convert" verify "$@"
    : | out
    printf "anx-convert: %s\nTry 'anx-convert verify --help'.\n" "$said" | err
}
usage "two checkpoints are needed"
usage "two checkpoints are needed" ten.pth
usage "standard input cannot be read: a checkpoint is mapped, not read in one go; give a file" five.pth -
usage "the name of the file to read is empty" '' five.pth
cp ten.pth kept.pth
usage "--json './kept.pth' is one of the checkpoints itself" five.pth kept.pth --json ./kept.pth
usage "--json 'kept.pth' is one of the checkpoints itself" --json kept.pth kept.pth five.pth
cmp ten.pth kept.pth || fail "a checkpoint was overwritten by the report about it"
rm kept.pth
usage "unexpected argument 'c.pth'" a.pth b.pth c.pth
usage "unknown option '--jason'" --jason
usage "option '--json' needs a value" a.pth b.pth --json
usage "option '--accept-bad-crc=1' takes no value" --accept-bad-crc=1
expect 0 "$convert" verify --help
: | err
grep -q '^usage: anx-convert verify A B ' .out || fail "--help: $(cat .out)"
finish
