#!/bin/sh
# anx-eval: usage, layouts, bad files, expectations, interruptions. What it counts is held against PyTorch elsewhere.
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
eval=$bin/anx-eval
images=$ANX_SOURCE_DIR/fixtures/images
OMP_NUM_THREADS=2
OMP_WAIT_POLICY=passive
export OMP_NUM_THREADS OMP_WAIT_POLICY
"$bin/anx-convert" init --arch narrow --num-classes 4 --seed 3 -o narrow.pth >/dev/null || exit 2
"$bin/anx-convert" init --arch narrow --num-classes 4 --seed 4 -o other.pth >/dev/null || exit 2

# --- usage
usage() { # what is wrong, then arguments
    said=$1
    shift
    expect 64 "$eval" "$@"
    : | out
    printf "anx-eval: %s\nTry 'anx-eval --help'.\n" "$said" | err
}
usage "--val-dir is missing: the images to evaluate" --weights narrow.pth
usage "give either --limit or --sample" --val-dir v --limit 3 --sample 4
usage "--limit takes the first images, which say nothing of all: --expect needs all of them, or --sample" \
    --val-dir v --limit 3 --expect official
usage "--expect '56' is neither 'official' nor Acc@1,Acc@5 in per cent (56.522,79.066)" --val-dir v --expect 56
usage "--expect '56,nan' is neither 'official' nor Acc@1,Acc@5 in per cent (56.522,79.066)" --val-dir v --expect 56,nan
usage "--batch '0' is not a whole number from 1 to 4096" --val-dir v --batch 0
usage "--sample 'x' is not a whole number from 1" --val-dir v --sample x
usage "unknown device 'gpu'; there is: auto, cuda, cpu, reference, exact" --val-dir v --device gpu
usage "only one of --json and --predictions can go to standard output" --val-dir v --json - --predictions -
usage "--json, --predictions and --resume need a file each" --val-dir v --json a --predictions a
usage "--json, --predictions and --resume need a file each" --val-dir v --json a --resume a
usage "--json, --predictions and --resume need a file each" --val-dir v --predictions a --resume a
touch weights.pth labels.txt
usage "--json './weights.pth' is the file that --weights names" --val-dir v --weights weights.pth --json ./weights.pth
usage "--predictions 'labels.txt' is the file that --labels names" --val-dir v --labels labels.txt --predictions labels.txt
rm weights.pth labels.txt
usage "unexpected argument 'more'" --val-dir v more
usage "unknown option '--vall'" --vall v
expect 64 "$eval" predict
printf "anx-eval: an image is missing\nTry 'anx-eval predict --help'.\n" | err
expect 64 "$eval" verify
printf "anx-eval: unknown subcommand 'verify'\nTry 'anx-eval --help'.\n" | err
expect 0 "$eval" --version
echo "anx-eval 0.1.0" | out
expect 0 "$eval" --help
grep -q 'anx-eval --val-dir imagenet/val --resume eval.state' .out || fail "--help has no example"

# --- where the published weights are looked for
expect 64 env TORCH_HOME="$work/hub" "$eval" --val-dir v
grep -q "^anx-eval: torchvision's published weights are not at $work/hub/hub/checkpoints/alexnet-owt-7be5be79.pth: --weights names" \
    .err || fail "TORCH_HOME: $(cat .err)"
expect 64 env -u TORCH_HOME XDG_CACHE_HOME="$work/cache" "$eval" --val-dir v
grep -q "$work/cache/torch/hub/checkpoints/alexnet-owt" .err || fail "XDG_CACHE_HOME: $(cat .err)"
expect 64 env -u TORCH_HOME -u XDG_CACHE_HOME HOME="$work/home" "$eval" --val-dir v
grep -q "$work/home/.cache/torch/hub/checkpoints/alexnet-owt" .err || fail "HOME: $(cat .err)"
mkdir -p hub/hub/checkpoints
cp narrow.pth hub/hub/checkpoints/alexnet-owt-7be5be79.pth

# --- four classes of pictures
mkdir -p val/ant val/bee val/cat val/dog
i=0
for picture in "$images"/*.jpg; do
    case $((i % 4)) in 0) class=ant ;; 1) class=bee ;; 2) class=cat ;; *) class=dog ;; esac
    cp "$picture" "val/$class/"
    i=$((i + 1))
done
n=$(find val -name '*.jpg' | wc -l)
expect 0 env TORCH_HOME="$work/hub" "$eval" --val-dir val
expect 0 "$eval" --val-dir val --weights narrow.pth --json report.json --predictions list.csv --batch 5
grep -q "^evaluated   all $n images" .out || fail "not all $n images: $(cat .out)"
grep -Eq '^Acc@1 [0-9]+\.[0-9]{3} Acc@5 100\.000$' .out || fail "no accuracy as torchvision prints it"
tail -1 .out | grep -Eq "^$n images in [0-9.]+ s, [0-9.]+ images/s$" || fail "the last line: $(tail -1 .out)"
[ "$(wc -l <list.csv)" -eq $((n + 1)) ] || fail "the list has $(wc -l <list.csv) lines"
grep -q '"kind":	"all"' report.json || fail "report.json"
right=$(sed -n 's/^top-1  *\([0-9]*\) of .*/\1/p' .out)
acc=$(sed -n 's/^Acc@1 \([0-9.]*\) .*/\1/p' .out)
expect 0 "$eval" --val-dir val --weights narrow.pth --json -
head -1 .out | grep -q '^{$' || fail "--json - does not begin standard output"
grep -q '^Acc@1 ' .err || fail "--json - leaves no text on standard error"
expect 0 "$eval" --val-dir val --weights narrow.pth --predictions -
head -1 .out | grep -q '^file,label,label_name,top1,' || fail "--predictions - does not begin standard output"

# --- neither threads nor batches show
for threads in 1 3; do
    for batch in 1 4 100; do
        expect 0 "$eval" --val-dir val --weights narrow.pth --threads $threads --batch $batch --predictions other.csv
        grep -q "^top-1       $right of $n right" .out || fail "$threads threads, batch $batch: $(cat .out)"
        cut -d, -f1-4 other.csv >.a
        cut -d, -f1-4 list.csv >.b
        cmp -s .a .b || fail "$threads threads, batch $batch: other predictions"
    done
done

# --- expectations
expect 0 "$eval" --val-dir val --weights narrow.pth --expect "$acc,100"
grep -q "^expected    Acc@1 $acc Acc@5 100.000: met, within 0.05 points" .out || fail "expectation: $(cat .out)"
expect 1 "$eval" --val-dir val --weights narrow.pth --expect 99,100
grep -q "MISSED by more than 0.05 points" .out || fail "a missed expectation: $(cat .out)"
expect 0 "$eval" --val-dir val --weights narrow.pth --sample 9 --seed 5 --expect "$acc,100"
grep -q "^evaluated   9 of $n images, drawn at random with seed 5" .out || fail "sample: $(cat .out)"
grep -q "inside the interval" .out || fail "sample: $(cat .out)"
expect 0 "$eval" --val-dir val --weights narrow.pth --limit 3
grep -q "^evaluated   the first 3 of $n images, which say nothing of the others" .out || fail "limit: $(cat .out)"
expect 2 "$eval" --val-dir val --weights narrow.pth --sample 1000
: | out
grep -q "^anx-eval: --sample 1000 of $n images$" .err || fail "too large a sample: $(cat .err)"

# --- bad files
cp -r val bad
printf 'no image' >bad/bee/broken.jpg
head -c 600 "$images/cat.jpg" >bad/dog/cut.jpg
expect 2 "$eval" --val-dir bad --weights narrow.pth
: | out
grep -q '^anx-eval: bad/bee/broken.jpg: ' .err || fail "the first bad file is not named: $(cat .err)"
expect 2 "$eval" --val-dir bad --weights narrow.pth --skip-bad --json report.json
grep -q "^2 files could not be evaluated and are not counted$" .out || fail "--skip-bad: $(cat .out)"
grep -q "^top-1       $right of $n right" .out || fail "--skip-bad counts others: $(cat .out)"
grep -q 'bad/dog/cut.jpg: ' .out || fail "bad files are not named"
grep -q '"file":	"dog/cut.jpg"' report.json || fail "bad files are not in the JSON"
expect 2 "$eval" --val-dir nowhere --weights narrow.pth
: | out
mkdir empty
expect 2 "$eval" --val-dir empty --weights narrow.pth
: | out
expect 2 "$eval" --val-dir val --weights nothing.pth
echo "anx-eval: nothing.pth: cannot open: No such file or directory" | err
"$bin/anx-convert" init --arch narrow --num-classes 5 --seed 3 -o five.pth >/dev/null
expect 2 "$eval" --val-dir val --weights five.pth # four folders are not its classes
: | out

# --- a full disk
expect 2 sh -c "'$eval' --val-dir val --weights narrow.pth >/dev/full"
grep -q 'standard output' .err || fail "a full disk behind standard output: $(cat .err)"
cp list.csv kept.csv
expect 2 sh -c "ulimit -f 1; '$eval' --val-dir val --weights narrow.pth --predictions kept.csv"
cmp -s list.csv kept.csv || fail "the old list is not whole"

for option in --json --predictions --resume; do # known before the work, not behind it
    expect 2 "$eval" --val-dir val --weights narrow.pth $option nowhere/file
    : | out
    echo "anx-eval: nowhere/file: cannot create a file in its folder: No such file or directory" | err
done
expect 2 sh -c "ulimit -f 1; '$eval' --val-dir val --weights narrow.pth --resume large.state"
grep -q "^top-1       $right of $n right" .out || fail "a state that cannot be written costs the result: $(cat .out)"
grep -q '^anx-eval: large.state: ' .err || fail "a state that cannot be written: $(cat .err)"
[ -e large.state ] && fail "half a state is left"
expect 2 "$eval" --val-dir bad --weights narrow.pth --resume bad.state
expect 2 "$eval" --val-dir bad --weights narrow.pth --resume bad.state --skip-bad # what was reached is kept
grep -q "^top-1       $right of $n right" .out || fail "--skip-bad does not go on: $(cat .out)"
expect 2 "$eval" --val-dir bad --weights narrow.pth --resume bad.state
echo "anx-eval: bad.state: holds 2 files that could not be evaluated: --skip-bad goes on with it" | err

# --- interruptions: enough work that a signal finds it at it
mkdir many
for class in ant bee cat dog; do
    mkdir many/$class
    k=0
    while [ $k -lt 25 ]; do
        for picture in val/$class/*.jpg; do ln "$picture" "many/$class/$k-$(basename "$picture")"; done
        k=$((k + 1))
    done
done
expect 0 "$eval" --val-dir many --weights narrow.pth --predictions whole.csv
interrupted=0
for signal in INT TERM; do
    rm -f state
    "$eval" --val-dir many --weights narrow.pth --batch 8 --resume state --predictions part.csv >.out 2>.err &
    pid=$!
    sleep 0.25
    kill -$signal $pid 2>/dev/null
    code=0
    wait $pid || code=$?
    case $signal in INT) wanted=130 ;; *) wanted=143 ;; esac
    if [ $code -eq 0 ]; then continue; fi # it was quicker than the signal
    [ $code -eq $wanted ] || fail "SIG$signal ends with $code: $(cat .err)"
    grep -q '^INTERRUPTED after [0-9,]* of ' .out || fail "SIG$signal: what was reached is not printed"
    [ -s state ] || fail "SIG$signal: no state was saved"
    interrupted=1
    expect 2 "$eval" --val-dir many --weights other.pth --batch 8 --resume state
    grep -q '^  weights (SHA-256): [0-9a-f]* there, [0-9a-f]* now$' .err || fail "other weights are gone on with: $(cat .err)"
    expect 2 "$eval" --val-dir many --weights narrow.pth --batch 9 --resume state
    expect 2 "$eval" --val-dir val --weights narrow.pth --batch 8 --resume state
    expect 0 "$eval" --val-dir many --weights narrow.pth --batch 8 --resume state --predictions joined.csv
    expect 0 "$eval" --val-dir many --weights narrow.pth --batch 8 --predictions straight.csv
    cmp -s joined.csv straight.csv || fail "SIG$signal: gone on with, it is another result"
    grep -v 'images' .out >.straight
    expect 0 "$eval" --val-dir many --weights narrow.pth --batch 8 --resume state # complete: nothing is left to do
    grep -v 'images' .out | cmp -s - .straight || fail "SIG$signal: a complete state gives another result"
done
[ $interrupted -eq 1 ] || fail "no signal found the evaluation at work"

# SIGKILL: the last state that was saved is whole, or there is none.
rm -f state
"$eval" --val-dir many --weights narrow.pth --batch 8 --resume state >/dev/null 2>&1 &
pid=$!
sleep 0.2
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null || true
expect 0 "$eval" --val-dir many --weights narrow.pth --batch 8 --resume state --predictions joined.csv
cmp -s joined.csv straight.csv || fail "after SIGKILL it is another result"

# --- single images, from a checkpoint of which a record's CRC-32 does not match
damage narrow.pth damaged.pth
expect 2 "$eval" predict --weights damaged.pth "$images/cat.jpg"
expect 0 "$eval" predict --accept-bad-crc --weights damaged.pth "$images/cat.jpg"
expect 2 "$eval" --val-dir val --weights damaged.pth --limit 2
expect 0 "$eval" --val-dir val --weights damaged.pth --limit 2 --accept-bad-crc

# --- what a device has to note, beside the classes
expect 0 env ANX_PLUGIN_DIR="$ANX_BUILD_DIR/tests/plugins" "$eval" predict --weights narrow.pth --device cuda --math tf32 \
    "$images/cat.jpg"
err <<'TEXT'
anx-eval: cuda:0: cuDNN 9.19.0, cuBLAS 13.0.2, compute capability 9.0, float64, math tf32, 2 threads
anx-eval: 78.5 of 80.0 GiB of memory free
anx-eval: cudart 13.0 /opt/cuda/libcudart.so.13
anx-eval: cuDNN 9.19.0 /opt/cuda/libcudnn.so.9
anx-eval: note: NVIDIA_TF32_OVERRIDE=0
TEXT
expect 0 "$eval" predict --weights narrow.pth --device cpu "$images/cat.jpg"
: | err

# --- single images
expect 0 "$eval" predict --weights narrow.pth "$images/cat.jpg" "$images/png-rgba.png"
grep -q "^$images/cat.jpg$" .out || fail "predict: $(cat .out)"
[ "$(grep -c '^  [1-4] .* %  class [0-3]$' .out)" -eq 8 ] || fail "predict: $(cat .out)"
expect 2 "$eval" predict --weights narrow.pth bad/bee/broken.jpg "$images/cat.jpg"
cp "$images/cat.jpg" "$(printf 'a\033[31mb.jpg')"
expect 0 "$eval" predict --weights narrow.pth "$(printf 'a\033[31mb.jpg')"
head -1 .out | grep -q '^a.x1b.31mb.jpg$' || fail "an escape sequence is printed"
expect 2 "$eval" predict --weights narrow.pth bad/bee/broken.jpg "$images/cat.jpg"
grep -q 'cat.jpg$' .out || fail "predict stops at a bad file"
grep -q '^anx-eval: bad/bee/broken.jpg: ' .err || fail "predict: $(cat .err)"
finish
