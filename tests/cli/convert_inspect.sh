#!/bin/sh
# anx-convert inspect: usage, exit codes, where text and JSON go.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
convert=$bin/anx-convert
file=alexnet-10-seed1.pth

# --- the text: the values are those that PyTorch gives the tensors of torch.manual_seed(1); alexnet(num_classes=10)
expect 0 "$convert" init --arch alexnet --seed 1 --num-classes 10 -o $file
expect 0 "$convert" inspect $file
cp .out text
out <<'TEXT'
file        alexnet-10-seed1.pth
format      PyTorch zip, version 3
size        228,185,721 bytes
SHA-256     c6c283873658947bcebdddd239c066ceb172d93db037fa5a640c8bd7efbf2ac8
official    no: none of torchvision's 2 AlexNet files has this SHA-256
written by  PyTorch 2.7 or newer, or anx-convert, which writes the same bytes
            has the records byteorder (since 2.1), .format_version (since 2.7), .storage_alignment
            (since 2.7), .data/serialization_id (since 2.1)
            storages are named 0 to 15 (since 1.9), in the order of the numbers (since 2.7)
            the serialization id is PyTorch's for these records, on Linux: unchanged since
            it was saved under the name 'alexnet-10-seed1', that of its folder
fits        alexnet, 10 classes
tensors     16, all float32: 57,044,810 elements, 228,179,240 bytes
_metadata   24 modules, all of version 1

name                 shape             key     offset        min      max        mean
features.0.weight    (64, 3, 11, 11)   0         2624   -0.05248  0.05249   -7.91e-05
features.0.bias      (64,)             1        95680   -0.05204   0.0518    0.003844
features.3.weight    (192, 64, 5, 5)   2        96064     -0.025    0.025   1.917e-05
features.3.bias      (192,)            3      1324992   -0.02496   0.0249   0.0006134
features.6.weight    (384, 192, 3, 3)  4      1325888   -0.02406  0.02406   -5.71e-06
features.6.bias      (384,)            5      3980224   -0.02376  0.02384    5.54e-05
features.8.weight    (256, 384, 3, 3)  6      3981888   -0.01701  0.01701  -1.016e-05
features.8.bias      (256,)            7      7520960   -0.01686  0.01661   0.0001716
features.10.weight   (256, 256, 3, 3)  8      7522112   -0.02083  0.02083   1.544e-05
features.10.bias     (256,)            9      9881536   -0.02072  0.02067   0.0001653
classifier.1.weight  (4096, 9216)      10     9882688   -0.01042  0.01042  -7.839e-07
classifier.1.bias    (4096,)           11   160877760   -0.01041   0.0104  -0.0001595
classifier.4.weight  (4096, 4096)      12   160894272   -0.01562  0.01562  -1.501e-06
classifier.4.bias    (4096,)           13   228003264   -0.01562  0.01562   9.423e-05
classifier.6.weight  (10, 4096)        14   228019776   -0.01562  0.01562  -1.333e-05
classifier.6.bias    (10,)             15   228183744  -0.009572  0.01381     0.00106
TEXT
: | err

# --- JSON: to standard output in place of the text, or to a file beside it, which is replaced
expect 0 "$convert" inspect --json - $file
: | err
cp .out report.json
head -c 1 report.json | grep -q '{' || fail "--json - begins with: $(head -n 1 report.json)"
grep -q '"sha256":	"c6c283873658947bcebdddd239c066ceb172d93db037fa5a640c8bd7efbf2ac8"' report.json ||
    fail "--json - has no SHA-256"
echo old >file.json
expect 0 "$convert" inspect $file --json file.json
out <text
cmp -s file.json report.json || fail "--json FILE is not what --json - prints"
[ -z "$(ls -A | grep -vxE "$file|text|report.json|file.json|\.(out|err|wanted|failures)")" ] || fail "left behind: $(ls -A)"

# --- trouble
expect 2 "$convert" inspect nowhere.pth
: | out
err <<'TEXT'
anx-convert: nowhere.pth: cannot open: No such file or directory
TEXT
expect 2 "$convert" inspect report.json
: | out
err <<'TEXT'
anx-convert: report.json: JSON text
TEXT
damage $file damaged.pth
expect 2 "$convert" inspect damaged.pth
: | out
grep -q "^anx-convert: damaged.pth: entry 'alexnet-10-seed1/data/10': its CRC-32 is " .err ||
    fail "damage is said as: $(cat .err)"
expect 0 "$convert" inspect --accept-bad-crc damaged.pth
: | err
grep -q '^damage      1 record whose CRC-32 does not match, accepted as asked$' .out || fail "accepted damage is not said"
expect 2 "$convert" inspect $file --json nowhere/report.json
out <text
err <<'TEXT'
anx-convert: nowhere/report.json: cannot create a file in its folder: No such file or directory
TEXT
expect 2 sh -c "'$convert' inspect $file >/dev/full"
err <<'TEXT'
anx-convert: cannot write to standard output: No space left on device
TEXT

# --- usage
usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$convert" inspect "$@"
    : | out
    printf "anx-convert: %s\nTry 'anx-convert inspect --help'.\n" "$said" | err
}
usage "a checkpoint is missing: the file to inspect"
usage "unexpected argument 'more'" $file more
usage "standard input cannot be read: a checkpoint is mapped, not read in one go; give a file" -
usage "unknown option '--jason'" --jason $file
usage "option '--json' needs a value" $file --json
usage "option '--accept-bad-crc=yes' takes no value" --accept-bad-crc=yes $file
ln -s $file link.pth
usage "--json 'link.pth' is the checkpoint itself" $file --json link.pth
usage "--json './$file' is the checkpoint itself" link.pth --json ./$file
expect 0 "$convert" inspect --help
: | err
grep -q 'anx-convert inspect alexnet-owt-7be5be79.pth' .out || fail "--help has no example"
finish
