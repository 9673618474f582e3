#!/bin/sh
# anx-parity dump: exit codes, usage, what is left behind. The values are tested in parity_dump.py.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
parity=$bin/anx-parity
png=$ANX_SOURCE_DIR/tests/cli/gray.png
"$bin/anx-convert" init --arch narrow --seed 3 -o narrow.pth >/dev/null || exit 2

expect 0 "$parity" dump --image "$png" -o out.safetensors narrow.pth
quiet
[ -s out.safetensors ] || fail "nothing was written"
cp out.safetensors before
expect 2 "$parity" dump --image "$png" -o out.safetensors narrow.pth
: | out
err <<'TEXT'
anx-parity: out.safetensors: exists already and is not overwritten unless forced
anx-parity: --force overwrites it
TEXT
cmp -s before out.safetensors || fail "out.safetensors was touched"
expect 0 "$parity" dump --image "$png" -o out.safetensors --force narrow.pth
cmp -s before out.safetensors || fail "dumping twice gives other bytes"

# What was dumped can be taken as input: one image is a batch of one only with its batch dimension.
trouble() { # what is said, then arguments
    said=$1
    shift
    expect 2 "$parity" dump "$@"
    : | out
    echo "anx-parity: $said" | err
}
trouble "out.safetensors: the tensor 'input' is float32 (3, 224, 224); floating point of shape (N, 3, H, W) was expected" \
    --input out.safetensors -o x.safetensors narrow.pth
expect 0 "$parity" dump --image "$png" --points crop -o crop.safetensors narrow.pth
trouble "crop.safetensors: has no tensor named 'input'; it holds: crop" \
    --input crop.safetensors -o x.safetensors narrow.pth
header='{"input":{"dtype":"F32","shape":[1,3,2,2],"data_offsets":[0,48]}}'
{
    # shellcheck disable=SC2059 # the length's octal escape is the format
    printf "\\$(printf %o ${#header})\\0\\0\\0\\0\\0\\0\\0"
    printf %s "$header"
    head -c 48 /dev/zero
} >small.safetensors
trouble "small.safetensors: layer 'features.2': an input of 2x2 leaves this layer no output; narrow needs at least 9x9" \
    --input small.safetensors -o x.safetensors narrow.pth
rm small.safetensors
trouble "no point of this input and network matches 'features.12'" \
    --image "$png" --points features.12 -o x.safetensors narrow.pth
trouble "nothing.png: cannot open: No such file or directory" --image nothing.png -o x.safetensors narrow.pth
trouble "nothing.pth: cannot open: No such file or directory" --image "$png" -o x.safetensors nothing.pth
trouble "nowhere/x: cannot create a file in its folder: No such file or directory" \
    --image "$png" -o nowhere/x narrow.pth

# --- what a device tells of itself goes along
expect 0 env ANX_PLUGIN_DIR="$ANX_BUILD_DIR/tests/plugins" "$parity" dump --device cuda --math tf32 --image "$png" \
    -o told.safetensors narrow.pth
for said in '"notes":"NVIDIA_TF32_OVERRIDE=0"' '"capability":"9.0"' '"math":"tf32"' \
    '"libraries":"cudart 13.0 /opt/cuda/libcudart.so.13\ncuDNN 9.19.0 /opt/cuda/libcudnn.so.9"'; do
    grep -aqF -- "$said" told.safetensors || fail "no $said in the metadata: $(head -c 600 told.safetensors)"
done
expect 0 "$parity" dump --device cpu --image "$png" -o untold.safetensors narrow.pth
grep -aq '"notes"\|"libraries"' untold.safetensors && fail "a device without notes has some"
rm told.safetensors untold.safetensors

usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$parity" dump "$@"
    : | out
    printf "anx-parity: %s\nTry 'anx-parity dump --help'.\n" "$said" | err
}
usage "a checkpoint is missing" --image a.png -o x
usage "give either --image or --input" -o x a.pth
usage "give either --image or --input" --image a.png --input b.safetensors -o x a.pth
usage "-o is missing: the file to write" --image a.png a.pth
usage "-o -: a dump is written to a file, not to standard output (./- names a file called '-')" --image a.png -o - a.pth
usage "unexpected argument 'b.pth'" --image a.png -o x a.pth b.pth
usage "--points: no point matches 'nothing'" --image a.png -o x --points nothing a.pth
usage "unknown device 'tpu'; there is: auto, cuda, cpu, reference, exact" --image a.png -o x --device tpu a.pth
expect 0 "$parity" dump --help
grep -q 'anx-parity dump --image photo.jpg -o values.safetensors alexnet-seed0.pth' .out || fail "--help has no example"

[ -z "$(ls -A | grep -vxE 'narrow.pth|(out|crop).safetensors|before|\.(out|err|wanted|failures)')" ] || fail "left behind: $(ls -A)"
finish
