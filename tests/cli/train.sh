#!/bin/sh
# anx-train: usage, images and checkpoints that cannot be trained with, folders, full disks, what goes on from what. That it
# computes what PyTorch does is held elsewhere, and so is what stopping a run costs: nothing (train_resume.py).
. "$ANX_SOURCE_DIR/tests/cli/lib.sh"
train=$bin/anx-train
images=$ANX_SOURCE_DIR/fixtures/images
OMP_NUM_THREADS=2
OMP_WAIT_POLICY=passive
export OMP_NUM_THREADS OMP_WAIT_POLICY
init() { "$bin/anx-convert" init --arch "$1" --num-classes "$2" --seed 3 -o "$3" >/dev/null || exit 2; }
init narrow 3 narrow.pth

for class in ant bee cat; do
    mkdir -p "data/$class" "val/$class"
    for i in 0 1 2; do cp "$images/galaxies.jpg" "data/$class/$i.jpg"; done
    cp "$images/hopper.jpg" "val/$class/"
done
cp "$images/cat-eye.jpg" data/cat/0.jpg
cp "$ANX_SOURCE_DIR/tests/cli/gray.png" data/bee/1.png

said() { # words that standard error must have
    grep -qF -- "$*" .err || fail "not said: '$*', but: $(cat .err) -- by: $last"
}
shown() { # words that standard output must have
    grep -qF -- "$*" .out || fail "not shown: '$*', but: $(cat .out) -- by: $last"
}
absent() {
    for path in "$@"; do [ ! -e "$path" ] || fail "$path is there, after: $last"; done
}
# begin CODE FOLDER OPTIONS...: a run of two epochs of three steps
begin() {
    wanted=$1
    folder=$2
    shift 2
    expect "$wanted" "$train" --data data --arch narrow --epochs 2 --batch 4 -o "$folder" "$@"
}
resume() {
    wanted=$1
    file=$2
    shift 2
    expect "$wanted" "$train" --resume "$file" "$@"
}

# --- help and usage
expect 0 "$train" --version
echo "anx-train 0.1.0" | out
expect 0 "$train" --help
shown 'anx-train --resume run/last.pth --epochs 20'
shown '(default 32)'
grep -q '(default 0)' .out && [ "$(grep -c 'default 0)' .out)" -gt 5 ] && fail "--help shows defaults that are none"
awk 'length > 112 { exit 1 }' .out || fail "--help is wider than 112 columns"
expect 64 "$train"
usage() { # what is wrong, then arguments
    words=$1
    shift
    expect 64 "$train" "$@"
    : | out
    printf "anx-train: %s\nTry 'anx-train --help'.\n" "$words" | err
}
usage "--weights is missing: the checkpoint to begin with (or --arch for drawn weights, --resume to go on with a run)" \
    --data data -o run
usage "give either --weights or --arch" --data data --weights narrow.pth --arch narrow -o run
usage "--resume has its weights already: --weights is for a new run" --resume narrow.pth --weights narrow.pth
usage "--resume has its weights already: --arch is for a new run" --resume narrow.pth --arch narrow
usage "-o is missing: the folder for what comes out" --data data --arch narrow
usage "--data is missing: the images to train with" --arch narrow -o run
usage "unknown architecture 'resnet50'; 'anx-convert init --help' lists them" --data data --arch resnet50 -o run
usage "unknown option '--learning-rate'" --learning-rate 0.1
usage "unexpected argument 'more'" --data data --arch narrow -o run more
usage "option '--lr' needs a value" --data data --lr
usage "option '--force=yes' takes no value" --force=yes
usage "--data has an empty value" --data ''
usage "--epochs '0' is not a whole number from 1 to 1000000000" --epochs 0
usage "--batch '1e3' is not a whole number from 1 to 4096" --batch 1e3
usage "--batch-size '4097' is not a whole number from 1 to 4096" --batch-size 4097
usage "--lr '-0.1' is not a number from 0" --lr -0.1
usage "--lr 'nan' is not a number from 0" --lr nan
usage "--lr '0x1p4' is not a number from 0" --lr 0x1p4
usage "--lr '1e39' is not a number from 0" --lr 1e39
usage "--dropout '1.5' is not a number from 0 to 1" --dropout 1.5
usage "--lr-warmup-decay '0' is not a number above 0 to 1" --lr-warmup-decay 0
usage "--seed '18446744073709551616' is no seed" --seed 18446744073709551616
usage "--opt 'adam' is none of these: sgd, sgd_nesterov" --opt adam
usage "--order 'random' is none of these: pytorch, independent" --order random
usage "--augment '' is none of these: torchvision-basic, hflip, none" --augment ''
usage "--threads '0' is not a whole number from 1 to 4096" --threads 0
usage "unknown device 'gpu'; there is: auto, cuda, cpu, reference, exact" --device gpu
usage "--log is a file; one of that name is ./-" --data data --arch narrow -o run --log -
usage "--log and --json need a file each" --data data --arch narrow -o run --log a --json ./a
usage "--json 'narrow.pth' is the checkpoint" --data data --weights ./narrow.pth -o run --json narrow.pth
usage "--log 'narrow.pth' is the checkpoint" --data data --weights ./narrow.pth -o run --log narrow.pth
usage "--lr-scheduler multisteplr needs --lr-milestones" --data data --arch narrow -o run --lr-scheduler multisteplr
usage "--lr-milestones '3,x' are not whole numbers with commas between them: 30,60" --data data --arch narrow -o run \
    --lr-scheduler multisteplr --lr-milestones 3,x
usage "--lr-warmup-epochs does not go with --lr-scheduler plateau" --data data --arch narrow -o run \
    --lr-scheduler plateau --lr-warmup-epochs 1
usage "--lr-warmup-epochs 90 leaves cosineannealinglr none of 90 epochs" --data data --arch narrow -o run \
    --lr-scheduler cosineannealinglr --lr-warmup-epochs 90
usage "--lr-scheduler plateau needs an --lr-gamma below 1" --data data --arch narrow -o run --lr-scheduler plateau --lr-gamma 1
usage "--opt sgd_nesterov needs a momentum" --data data --arch narrow -o run --opt sgd_nesterov --momentum 0
for rate in x x= =1 x=-1 x=nan x=1e39; do
    usage "--lr-group '$rate' is not GLOB=RATE: 'classifier.6.*=0.01'" --data data --arch narrow -o run --lr-group $rate
done
usage "--freeze 'layer1.*' matches no parameter; names are features.0.weight, features.0.bias, ... classifier.3.bias" \
    --data data --arch narrow -o run --freeze 'layer1.*'
usage "--lr-group '*.bias' matches no parameter that is trained and not in an earlier --lr-group; names are \
features.0.weight, features.0.bias, ... classifier.3.bias" --data data --arch narrow -o run --lr-group '*=1' \
    --lr-group '*.bias=1'
usage "--freeze leaves nothing to be trained" --data data --arch narrow -o run --freeze '*'
bad=$(printf 'not\377utf8')
usage "--data 'not\\xffutf8' has control characters in it, or bytes that are not UTF-8, which no checkpoint keeps: a link \
to it can have another name" --data "$bad" --arch narrow -o run
rm -rf run

# --- names that are the run's own, or the images'
for name in last.pth best.pth last-model.pth best-model.pth classes.tsv; do
    usage "--log 'run/$name' is where the run puts something else" --data data --arch narrow -o run --log run/$name
    usage "--json './run/$name' is where the run puts something else" --data data --arch narrow -o run --json ./run/$name
done
usage "--json 'run/log.jsonl' is where the run puts something else" --data data --arch narrow -o run --json run/log.jsonl
absent run/last.pth run/log.jsonl
usage "'data/run' would be a class of the images in 'data': give -o a folder elsewhere" --data data --arch narrow -o data/run
usage "'val/run' would be a class of the images in 'val': give -o a folder elsewhere" --data data --val-dir val \
    --arch narrow -o val/run/
absent data/run val/run
rm -rf run

# --- images that cannot be trained with
refused() { # words, then options: nothing comes of it
    words=$1
    shift
    expect 2 "$train" --arch narrow -o refused --epochs 1 --batch 4 "$@"
    : | out
    said "$words"
    absent refused/last.pth refused/log.jsonl refused/classes.tsv
}
refused 'nowhere: ' --data nowhere
mkdir empty hollow hollow/ant hollow/bee
refused 'empty: ' --data empty
cp data/ant/0.jpg hollow/ant/
refused "hollow: folder 'bee': no image in it" --data hollow
refused 'narrow.pth: ' --data narrow.pth
refused 'data: 3 class folders, but --num-classes 4' --data data --num-classes 4
refused 'nowhere: ' --data data --val-dir nowhere
mkdir other
cp -r val/ant val/bee other
begin 0 fewer --val-dir other --max-steps 1 # as if there were a folder without images
shown 'note        2 of 3 classes have images. None: cat.'
cp -r val/cat other/wasp
refused 'other: ' --data data --val-dir other
said wasp
cp -r data bytes
mv bytes/ant "bytes/a$(printf '\377')t"
refused "the class folder 'a\\xfft' has a name that is not UTF-8, or a tab or line break in it" --data bytes
mv "bytes/a$(printf '\377')t" "bytes/a$(printf '\t')t"
refused "the class folder 'a\\x09t' has a name that is not UTF-8, or a tab or line break in it" --data bytes

mkdir parts # train/ and val/ are no classes, where they are not taken as two folders
cp -r data parts/train
refused "parts: its folders are 'train' and the like, which are no classes: give --data the folder 'train' itself" --data parts
cp -r val parts/val
begin 0 of-both --data parts --max-steps 1 # of train.py's kind: both
shown ' images in parts/val'
grep -q '"val-dir":"parts/val"' of-both/log.jsonl || fail "the log does not name the validation images"
tar cf parts.tar -C parts train val
refused "parts.tar: its folders are 'train' and the like, which are no classes" --data parts.tar
tar cf classes.tar -C data .
begin 0 of-tar --data classes.tar --val-dir val --max-steps 1
shown 'training    10 images in classes.tar; 3 steps of 4 an epoch'
begin 0 of-one-step --val-dir val/ --max-steps 1 --batch 10
shown 'training    10 images in data; 1 step of 10 an epoch'

# --- weights that cannot be begun with
weights() {
    words=$1
    shift
    expect 2 "$train" --data data -o refused --epochs 1 --batch 4 "$@"
    : | out
    said "$words"
    absent refused/last.pth refused/log.jsonl
}
weights 'nothing.pth: ' --weights nothing.pth
weights 'data/ant/0.jpg: ' --weights data/ant/0.jpg
damage narrow.pth damaged.pth
weights 'damaged.pth: ' --weights damaged.pth
expect 0 "$train" --data data --weights damaged.pth -o accepted --epochs 1 --max-steps 1 --accept-bad-crc
head -c 3000 narrow.pth >cut.pth
weights 'cut.pth: ' --weights cut.pth
cp "$ANX_SOURCE_DIR/fixtures/alexnet-seed0.safetensors" fixture.safetensors 2>/dev/null || : >fixture.safetensors
weights 'fixture.safetensors: ' --weights fixture.safetensors # another network's tensors
expect 2 "$train" --resume narrow.pth # a model alone
said "narrow.pth: a checkpoint of a training was expected"

# --- more classes, or fewer, than the weights have: a new last layer
init narrow 5 five.pth
expect 0 "$train" --data data --weights five.pth -o five --epochs 1 --max-steps 1
shown 'made anew (it had 5 classes), seed 0'

# --- an image that cannot be read
cp -r data bad
printf 'no image' >bad/bee/0.jpg
expect 2 "$train" --data bad --arch narrow -o bad-run --epochs 2 --batch 2 --seed 3
said 'anx-train: bad/bee/0.jpg: '
said "what came before that is in bad-run/last.pth: --resume goes on with it when the images are as they \
were, and --skip-bad without such ones"
resume 2 bad-run/last.pth # as long as it is bad
cp bad/ant/0.jpg bad/bee/0.jpg # another image of another size, which is not what the run was begun with
resume 2 bad-run/last.pth
said "bad-run/last.pth: the run was begun with other images than '$work/bad' has now"
printf 'no image' >bad/bee/0.jpg
resume 0 bad-run/last.pth --skip-bad
shown 'left out    images that could not be read, 2 times'
said "left out: $work/bad/bee/0.jpg: "
expect 0 "$train" --data bad --arch narrow -o bad-whole --epochs 2 --batch 2 --seed 3 --skip-bad
said 'left out: bad/bee/0.jpg: '
cmp -s bad-run/last-model.pth bad-whole/last-model.pth || fail "--skip-bad that came later is another run"
cp -r val badval
printf 'no image' >badval/bee/hopper.jpg
begin 2 badval-run --val-dir badval
said 'anx-train: badval/bee/hopper.jpg: '
resume 0 badval-run/last.pth --skip-bad --max-steps 3
begin 0 badval-whole --val-dir badval --skip-bad --max-steps 3
cmp -s badval-run/last-model.pth badval-whole/last-model.pth || fail "steps before a bad validation image are lost"

# --- folders
printf file >file
begin 2 file
said 'file: a file, not a folder to write into'
begin 2 file/below
said 'file: a file, not a folder to write into'
begin 0 new/deep/run --max-steps 1
mkdir locked
chmod 555 locked
if [ "$(id -u)" -ne 0 ]; then
    begin 2 locked/run
    said 'locked/run: cannot make the folder: Permission denied'
elif setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
    chmod 755 "$work"
    chmod 666 .out .err
    expect 2 setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$train" --data "$work/data" --arch narrow -o "$work/locked/run"
    said "locked/run: cannot make the folder: Permission denied"
    mkdir locked/made
    expect 2 setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$train" --data "$work/data" --arch narrow -o "$work/locked/made"
    said "locked/made/last.pth: cannot create a file in its folder: Permission denied"
fi

# --- an earlier run
begin 0 run --val-dir val --json run/outcome.json # whose folder is not there yet
grep -q '"reason":	"done"' run/outcome.json || fail "run/outcome.json"
cp -r run kept
rm kept/outcome.json
begin 2 run
: | out
echo "anx-train: run/last.pth: an earlier run's: give -o another folder, go on with that run (--resume run/last.pth), or \
give --force to begin anew in its place" | err
for name in last.pth best.pth last-model.pth best-model.pth classes.tsv log.jsonl; do
    cmp -s "kept/$name" "run/$name" || fail "an earlier run's $name was changed"
done
expect 2 "$train" --data nowhere --arch narrow -o run --force # known before anything is removed
cmp -s kept/last.pth run/last.pth || fail "--force removes an earlier run for one that comes to nothing"
usage "--force would replace the --weights, 'run/last-model.pth': give -o another folder" --data data \
    --weights run/last-model.pth -o run --force
begin 0 run --force --max-steps 1
absent run/best.pth run/best-model.pth
[ -e run/outcome.json ] || fail "--force removes what is no run's"
mkdir logs
touch logs/log.jsonl # of a run that came to nothing
begin 2 logs
said "logs/log.jsonl: an earlier run's: give -o another folder, or give --force to begin anew in its place"
begin 0 null --log /dev/null --max-steps 1 # a device is no earlier run's
resume 0 null/last.pth --log /dev/null
ln -s /dev/null sink
expect 2 sh -c "ulimit -f 8; '$train' --data data --arch narrow -o taken-back --log sink"
[ -c sink ] || fail "a device is taken back with a run that came to nothing"

# --- what a run leaves: the same to the byte whatever its folder and log
begin 0 again --val-dir val --print-freq 2
cmp -s kept/last-model.pth again/last-model.pth || fail "a run again is another"
[ "$(grep -c '"event":"step"' again/log.jsonl)" -eq 4 ] || fail "--print-freq 2: $(cat again/log.jsonl)"
for class in ant bee cat; do grep -q "$class" kept/classes.tsv || fail "classes.tsv has no $class"; done
expect 0 "$bin/anx-eval" --val-dir val --weights kept/best-model.pth
shown 'val: class folders by name; '
mkdir moved # the names are in the checkpoint itself, and beside a model alone
cp kept/best.pth kept/last-model.pth moved
image=$(find val/cat -type f | head -n 1)
for model in moved/best.pth kept/best-model.pth; do
    expect 0 "$bin/anx-eval" predict --weights $model "$image"
    for class in ant bee cat; do grep -Eq "%  $class \\([0-2]\\)\$" .out || fail "predict with $model: $(cat .out)"; done
done
expect 0 "$bin/anx-eval" predict --weights moved/last-model.pth "$image"
grep -q 'class 2' .out || fail "predict knows names from nowhere: $(cat .out)"
cp -r val others # a class without images moves no other; classes of other names are none
rm -r others/ant
expect 0 "$bin/anx-eval" --val-dir others --weights kept/best-model.pth
shown 'Folders are matched to classes by their names.'
if [ -f "$ANX_SOURCE_DIR/fixtures/imagenet_classes.tsv" ]; then # classes called by ImageNet's wnids have its names
    mkdir wnids
    expect 0 "$bin/anx-convert" init --arch narrow --num-classes 1000 --seed 1 -o wnids/model.pth
    awk -F '\t' '{ printf "%s\t%s\t%s\n", $1, $2, $2 }' "$ANX_SOURCE_DIR/fixtures/imagenet_classes.tsv" >wnids/classes.tsv
    expect 0 "$bin/anx-eval" predict --weights wnids/model.pth "$image"
    if grep -Eq '%  n[0-9]{8} ' .out; then fail "wnids instead of names: $(cat .out)"; fi
    sed -i 's/n01440764/ours/g' wnids/classes.tsv # not ImageNet's: what the file says
    expect 0 "$bin/anx-eval" predict --weights wnids/model.pth "$image"
    grep -Eq '%  n[0-9]{8} ' .out || fail "names that are not the model's: $(cat .out)"
fi
mv others/bee others/wasp
expect 2 "$bin/anx-eval" --val-dir others --weights kept/best-model.pth
said "others: folder 'wasp': not the name of a class"
mv others/cat others/lynx
mkdir others/ounce
cp "$image" others/ounce
expect 2 "$bin/anx-eval" --val-dir others --weights moved/best.pth
said "others: no folder is called like a class of the model: 'lynx' would be class 0, which is 'ant'"
expect 0 "$bin/anx-eval" --val-dir others --weights moved/last-model.pth # which knows no names
expect 0 "$bin/anx-convert" inspect kept/last.pth

# --- full disks
begin 2 full --json /dev/full --max-steps 1
said '/dev/full'
rm -rf full
expect 2 sh -c "'$train' --data data --arch narrow --epochs 1 -o full >/dev/full"
said 'standard output'
rm -rf full
for blocks in 1 8; do # as large a file is no log, or no checkpoint
    expect 2 sh -c "ulimit -f $blocks; '$train' --data data --arch narrow --epochs 1 -o full"
    said 'File too large'
    absent full/last.pth full/log.jsonl full/classes.tsv
done
begin 0 full --max-steps 2
cp -r full before
expect 2 sh -c "ulimit -f 8; '$train' --resume full/last.pth"
said 'full/last.pth: '
cmp -s before/last.pth full/last.pth || fail "a full disk costs the checkpoint that was there"
[ "$(find full -name '.*' -type f | wc -l)" -eq 0 ] || fail "a full disk leaves temporary files"
resume 0 full/last.pth
begin 0 whole
cmp -s full/last.pth whole/last.pth || fail "after a full disk it is another run"

# --- a value that is not finite
begin 2 nan --lr 1e30
shown 'STOPPED: a value is not finite after '
grep -Eq '^ +(features|classifier)\.[0-9]+(\.weight|\.bias)? was not finite in epoch 0, ' .out || fail "nan: $(cat .out)"
shown 'nan/last.pth is as it was written last'
shown 'in a new run from there: --weights nan/last.pth -o DIR'
absent nan/last-model.pth nan/best.pth
expect 0 "$bin/anx-convert" nan/last.pth finite.pth
resume 2 nan/last.pth # again at the same step
begin 2 overflow --batch 10 --lr 1e10 --weight-decay 1e38 # the loss is finite, what the step makes of it is not
shown 'features.0.weight was not finite in epoch 0, step 1 (step 1 of the run); the loss was '
absent overflow/last-model.pth overflow/best.pth
expect 0 "$bin/anx-convert" init --arch narrow --num-classes 3 --seed 0 -o drawn.pth
expect 0 "$bin/anx-convert" verify overflow/last.pth drawn.pth

# --- what a run is gone on with
begin 0 run --force --val-dir val --max-steps 2 --seed 7
mismatch() { # words, then options
    words=$1
    shift
    resume 2 run/last.pth "$@"
    : | out
    said "run/last.pth: the run was begun with$words: leave the option out, or begin a new run from its weights"
}
mismatch ' --lr 0.01, not with 0.1' --lr 0.1
mismatch ' --seed 7, not with 8' --seed 8
mismatch ' --batch 4, not with 5' --batch-size 5
mismatch 'out --dropout, not with 0.5' --dropout 0.5
mismatch 'out --freeze, not with features.*' --freeze 'features.*'
mismatch ' --lr-scheduler steplr, not with none' --lr-scheduler none
mismatch ' --augment torchvision-basic, not with hflip' --augment hflip
resume 2 run/last.pth --num-classes 4
said '3 class folders, but --num-classes 4'
resume 0 run/last.pth --num-classes 3 --lr 0.01 --batch 4 --seed 7 --max-steps 2 # what is given agrees
cp -r data wasps
mv wasps/bee wasps/wasp
mv wasps/cat wasps/bee
mv wasps/wasp wasps/cat
resume 2 run/last.pth --data wasps --val-dir val
said "run/last.pth: the run was begun with other images than 'wasps' has now"
mv wasps/ant wasps/wasp
cp -r wasps wasps-val
resume 2 run/last.pth --data wasps --val-dir wasps-val
said "run/last.pth: the run was begun with other classes than 'wasps' has: class 0 was 'ant', and is 'bee' here"
cp -r val more-val # the accuracies of other images would choose another best epoch
cp val/ant/hopper.jpg more-val/bee/again.jpg
resume 2 run/last.pth --val-dir more-val
said "run/last.pth: the run was begun with other validation images than 'more-val' has now"
mv more-val val-elsewhere
rm val-elsewhere/bee/again.jpg
resume 0 run/last.pth --val-dir val-elsewhere --max-steps 2
mv data away
resume 2 run/last.pth
said "$work/data: the run's images are not there any more: give --data where they are now"
resume 0 run/last.pth --data away --max-steps 2
mv away data
resume 0 run/last.pth --data data --val-dir val --max-steps 2
expect 2 "$train" --resume nowhere.pth
said 'nowhere.pth: '
damage run/last.pth run/damaged.pth
resume 2 run/damaged.pth
said 'run/damaged.pth: '
rm run/damaged.pth
cp run/log.jsonl run/log.kept
echo 'no log' >run/log.jsonl
resume 2 run/last.pth
said 'run/log.jsonl: '
[ "$(cat run/log.jsonl)" = 'no log' ] || fail "a file that is no log was changed"
mv run/log.kept run/log.jsonl

# from elsewhere: the images are found all the same
(cd / && exec "$train" --resume "$work/run/last.pth" --max-steps 3) >/dev/null 2>.err || fail "from elsewhere: $(cat .err)"
resume 0 run/last.pth --max-steps 4 # one step behind the first epoch, after which best.pth was written
resume 2 run/best.pth
said "run/best.pth: is 1 step behind run/last.pth: go on with that one, give -o another folder, or give --force"
resume 0 run/best.pth -o branch
resume 0 run/best.pth --force
cmp -s run/last.pth branch/last.pth || fail "gone on from best.pth in its own folder and elsewhere, it is not one run"
cp kept/last.pth run/foreign.pth # of another run
resume 2 run/foreign.pth
said "run/last.pth: an earlier run's"
cp run/last.pth finished.pth
resume 0 run/last.pth # nothing is left to do
shown 'done after 6 steps (2 whole epochs of 2)'
shown 'nothing was left to do; with more --epochs it would go on'
cmp -s finished.pth run/last.pth || fail "a finished run that is gone on with changes"
resume 0 run/last.pth --epochs 3
shown 'done after 9 steps (3 whole epochs of 3)'
rm run/log.jsonl
resume 0 run/last.pth --epochs 4 # a log that is gone costs the log
[ "$(grep -c '"event":"epoch"' run/log.jsonl)" -eq 1 ] || fail "a new log: $(cat run/log.jsonl)"
finish
