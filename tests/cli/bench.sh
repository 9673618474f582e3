#!/bin/sh
# anx-bench: that it measures each thing and says what it was; how fast anything is decides nothing here.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
bench=$bin/anx-bench
"$bin/anx-convert" init --arch narrow --seed 3 -o narrow.pth >/dev/null || exit 2
mkdir images
cp "$ANX_SOURCE_DIR/tests/cli/gray.png" images/

has() { # FILE TEXT
    grep -qF -- "$2" "$1" || fail "no '$2' in the output of: $last"
}

expect 0 "$bench" run --threads 2 --repeats 2 --batches 1,5 --images images --json bench.json \
    --only forward,load,start,preprocess,pipeline,evaluate,convert,train,sgd,input narrow.pth
for row in "start       1 image" "forward     batch 1" "forward     batch 5" "load" "preprocess  1 files" \
    "pipeline    1 thread" "pipeline    2 threads" "evaluate    416 files" "convert     pth" "convert     safetensors" \
    "convert     bin" "steps       3 of batch 32" "train       cpu, batch 32" "train head  cpu, batch 32" \
    "train       exact, batch 8" "sgd         0.0 M parameters" "input       PyTorch's, 1 thread" \
    "input       free, 2 threads" "limits:"; do
    has .out "$row"
done
for key in '"format":	"anx-bench 1"' '"threads":	2' '"fma_flop_per_s"' '"bare_over_anx"' '"anx_max_rss_bytes"' \
    '"what":	"batch 5"' '"limit_by"' '"runs":	2' '"moved_bytes"' '"moved_bytes_per_s"'; do
    has bench.json "$key"
done
: | err
expect 0 "$bench" run --threads 1 --repeats 1 --only load --json - narrow.pth
head -1 .out | grep -q '^{$' || fail "--json - does not begin standard output"
has .err "limits:"
expect 0 "$bench" run --threads 1 --repeats 1 --only load narrow.pth
grep -q "^forward  " .out && fail "--only load measured more"
expect 0 "$bench" run --threads 1 --repeats 1 --only pipeline --images images narrow.pth
[ "$(grep -c ^pipeline .out)" = 1 ] || fail "one thread is measured once"
expect 0 "$bench" run --threads 1 --repeats 1 --only input --images images narrow.pth
[ "$(grep -c ^input .out)" = 2 ] || fail "one thread is measured once, in both orders"
expect 0 "$bench" first narrow.pth
quiet
expect 0 "$bench" steps --threads 1 --batch 3 --steps 2 narrow.pth
quiet

# --- another device than the processor: neither its limits nor oneDNN stand beside it
ANX_PLUGIN_DIR=$ANX_BUILD_DIR/tests/plugins
export ANX_PLUGIN_DIR
expect 0 "$bench" run --device cuda --math tf32 --threads 2 --repeats 1 --batches 2 --images images --json bench.json \
    --only forward,start,evaluate,train narrow.pth
has .out "device cuda: cuDNN 9.19.0, cuBLAS 13.0.2, compute capability 9.0, float64, math tf32, 2 threads"
for row in "forward     batch 2" "start       1 image" "evaluate    416 files" "train       cuda, batch 32" \
    "train head  cuda, batch 32" "steps       3 of batch 32"; do
    has .out "$row"
done
grep -q '% FMA\|% memory\|exact' .out && fail "the processor's limits beside a GPU: $(cat .out)"
has bench.json '"device":	"cuda"'
expect 2 env SAMPLE_FAULT=lost "$bench" first --device cuda narrow.pth
has .err "the device is lost: cudaStreamSynchronize says 719"
expect 2 env SAMPLE_DEVICES=0 "$bench" run --device cuda --only forward narrow.pth
has .err "the sample has no device, as was asked for"
expect 64 "$bench" run --device auto narrow.pth
has .err "name what is measured"
expect 64 "$bench" steps --device gpu narrow.pth
unset ANX_PLUGIN_DIR

expect 2 "$bench" run --only load nothing.pth
: | out
err <<'TEXT'
anx-bench: nothing.pth: cannot open: No such file or directory
TEXT
expect 2 "$bench" run --only preprocess --images nowhere narrow.pth
has .err "cannot open the folder nowhere"
mkdir damaged
echo "no image" >damaged/b.png
expect 2 "$bench" run --only evaluate --images damaged narrow.pth
has .err "damaged/b.png: neither a JPEG nor a PNG image"
expect 2 "$bench" run --only forward --python ./no-python narrow.pth
has .err "cannot start ./no-python"
expect 2 "$bench" run --only load --python /bin/false narrow.pth
has .err "PyTorch's process ended without an answer"
for wrong in "--repeats 0" "--batches 1,x" "--threads none" "--only" "--only forward,backward"; do
    # shellcheck disable=SC2086 # an option and its value
    expect 64 "$bench" run $wrong
    : | out
done
for wrong in "--batch 0" "--steps 1001" "--threads x" ""; do
    # shellcheck disable=SC2086 # an option and its value
    expect 64 "$bench" steps $wrong
    : | out
done
expect 64 "$bench" run
has .err "one checkpoint is measured, 0 are given"
finish
