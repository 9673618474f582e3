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
    --only forward,start,evaluate,train,sgd,input narrow.pth
has .out "device cuda: cuDNN 9.19.0, cuBLAS 13.0.2, compute capability 9.0, float64, math tf32, 2 threads"
has .out "cuDNN 9.19.0 /opt/cuda/libcudnn.so.9"
has .out "note: NVIDIA_TF32_OVERRIDE=0"
for row in "forward     batch 2" "start       1 image" "evaluate    416 files" "train       cuda, batch 32" \
    "train head  cuda, batch 32" "steps       3 of batch 32"; do
    has .out "$row"
done
grep -q '% FMA\|% memory\|exact\|GFLOP\|GB/s\|^limit\|oneDNN' .out && fail "the processor's limits beside a GPU: $(cat .out)"
grep -q '^sgd' .out && fail "the processor's SGD beside a GPU: $(cat .out)"
has .out "the processor's work, whatever the device"
has bench.json '"device":	"cuda"'
for key in '"math":	"tf32"' '"notes":	["NVIDIA_TF32_OVERRIDE=0"]' '"libraries":	["cudart 13.0 /opt/cuda/libcudart.so.13"'; do
    has bench.json "$key"
done
grep -q 'flop_per_s\|bytes_per_s\|limit_s' bench.json && fail "the processor's limits in a GPU's JSON"
expect 2 env SAMPLE_FAULT=lost "$bench" first --device cuda narrow.pth
has .err "the device is lost: cudaStreamSynchronize says 719"
expect 2 env SAMPLE_DEVICES=0 "$bench" run --device cuda --only forward narrow.pth
has .err "the sample has no device, as was asked for"
expect 64 "$bench" run --device auto narrow.pth
has .err "name what is measured"
expect 64 "$bench" steps --device gpu narrow.pth
unset ANX_PLUGIN_DIR

# --- all of it on the double of NVIDIA's libraries, where there is one
double=$ANX_BUILD_DIR/tests/fakecuda/13-9
if [ -d "$double" ]; then
    expect 0 env ANX_CUDA_PATH="$double" NVIDIA_TF32_OVERRIDE=1 "$bench" run --device cuda --threads 2 --repeats 1 \
        --batches 2 --images images --json bench.json narrow.pth
    has .out "cuDNN 9.19.0 $double/libcudnn.so.9"
    has .out "note: NVIDIA_TF32_OVERRIDE is set to '1'"
    has .out "never on a GPU"
    has bench.json "NVIDIA_TF32_OVERRIDE is set to '1'"
    for row in "start       1 image" "steps       3 of batch 32" check "convert     bin" "forward     batch 2" load \
        "preprocess  1 files" "pipeline    2 threads" "evaluate    416 files" "train       cuda, batch 32" \
        "train head  cuda, batch 32" "input       free, 2 threads"; do
        has .out "$row"
    done
fi

expect 2 "$bench" run --only load nothing.pth
: | out
err <<'TEXT'
anx-bench: nothing.pth: cannot open: No such file or directory
TEXT
expect 2 "$bench" run --only start nothing.pth
has .err "first failed: anx-bench: nothing.pth: cannot open: No such file or directory"
expect 2 "$bench" run --only preprocess --images nowhere narrow.pth
has .err "cannot open the folder nowhere"
mkdir damaged
echo "no image" >damaged/b.png
expect 2 "$bench" run --only evaluate --images damaged narrow.pth
has .err "damaged/b.png: neither a JPEG nor a PNG image"

# --- PyTorch fails: anx is measured all the same
mkdir path
cat >path/a-python <<'TEXT'
#!/bin/sh
# a-python peer.py serve|first|steps ...: what PyTorch's side would say
[ "$2" = serve ] || { echo "ImportError: no torch for $2" >&2; exit 1; }
echo "PyTorch 0, as an echo"
while read -r what argument rest; do
    case $what$argument in
    forward2) echo "error: CUDA out of memory" ;;
    train*) exit ;;
    *) echo 0.25 ;;
    esac
done
TEXT
chmod +x path/a-python
expect 2 env PATH="$work/path:$PATH" "$bench" run --threads 1 --repeats 2 --batches 1,2,3 --json bench.json \
    --python a-python --only start,forward,load,train,sgd narrow.pth
has .err "PyTorch could not be measured beside all of it"
has .out "PyTorch 0, as an echo"
grep -q '^forward     batch 1 .* 250 (250-250)' .out || fail "no PyTorch beside a batch of 1: $(cat .out)"
grep -q '^forward     batch 2 .*[0-9] (.*)  *[0-9.]*  - ' .out || fail "no batch of 2 without PyTorch: $(cat .out)"
grep -q '^forward     batch 3 .* 250 (250-250)' .out || fail "no PyTorch behind what it failed at: $(cat .out)"
grep -q '^train       cpu, batch 32 .*[0-9] (.*)  *[0-9.]*  - ' .out || fail "no training without PyTorch: $(cat .out)"
has .out "forward batch 2: without PyTorch: PyTorch: CUDA out of memory"
has .out "start 1 image: without PyTorch: a-python $ANX_SOURCE_DIR/tools/benchmark/peer.py failed: ImportError: no torch for first"
has .out "without PyTorch: PyTorch's process ended without an answer"
has bench.json '"pytorch_trouble":	"PyTorch: CUDA out of memory"'
expect 2 "$bench" run --repeats 1 --only load --json bench.json --python ./no-python narrow.pth
has .out "without PyTorch: cannot start ./no-python: No such file or directory"
grep -q '^load .*[0-9] (' .out || fail "nothing is measured without PyTorch: $(cat .out)"
has bench.json '"name":	"load"'
has bench.json '"pytorch_trouble":	"cannot start ./no-python: No such file or directory"'
expect 2 "$bench" run --repeats 1 --only load --python /bin/false narrow.pth
has .out "without PyTorch: PyTorch's process ended without an answer"
grep -q '^load .*[0-9] (' .out || fail "nothing is measured without PyTorch: $(cat .out)"
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
