#!/usr/bin/env bash
# no_gpu.sh BIN_DIR FAKE_DRIVER_DIR: NVIDIA's real runtime on a machine without a driver, and with one that says why
# there is no GPU: each case in its own sentence. Where there is a driver, the first is left out.
set -uo pipefail
bin=$1 driver=$2 asks_driver=$2/gpu_driver
failed=0
unset FAKE_DRIVER_ERROR FAKE_DRIVER_VERSION CUDA_VISIBLE_DEVICES
driver=$driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
probe=$(LD_LIBRARY_PATH=$driver FAKE_DRIVER_VERSION=10020 "$bin/anx-parity" devices 2>&1 | tr -s ' \n' ' ')
case $probe in *"CUDA runtime was not found"*)
    echo "no CUDA runtime is installed here"
    case "${ANX_TESTS_NO_SKIP:-0}" in 0 | "") exit 77 ;; *) exit 1 ;; esac
    ;;
esac
runtime=$(sed -n 's/.* is CUDA \([0-9]*\)\..*/\1/p' <<<"$probe")

# expect TEXT ENVIRONMENT...: what `anx-parity devices` says, in one line
expect() {
    local text=$1 said
    shift
    said=$(env "$@" "$bin/anx-parity" devices 2>&1 | tr -s ' \n' ' ')
    case $said in *"$text"*) ;; *)
        echo "$*: expected '$text' in: $said"
        failed=1
        ;;
    esac
    case $said in *"auto cpu"*) ;; *)
        echo "$*: auto does not take the processor: $said"
        failed=1
        ;;
    esac
}

with=(LD_LIBRARY_PATH="$driver" FAKE_DRIVER_VERSION="${runtime}000")
without=(A=)
if "$asks_driver" >/dev/null 2>&1; then
    echo "there is a driver here: what is said where there is none stays unasked"
    without=("${with[@]}" FAKE_DRIVER_ERROR=100)
else
    expect "no NVIDIA driver is installed" "${without[@]}"
fi
expect "sees no GPU" "${with[@]}" FAKE_DRIVER_ERROR=100
expect "CUDA_VISIBLE_DEVICES is ''" "${with[@]}" FAKE_DRIVER_ERROR=100 CUDA_VISIBLE_DEVICES=
expect "kernel module and its library (CUDA $runtime.0) are of different versions" "${with[@]}" FAKE_DRIVER_ERROR=803
expect "fails to count the GPUs: unknown error (cudaErrorUnknown, 999)" "${with[@]}" FAKE_DRIVER_ERROR=999
expect "is the stub which programs are linked with" "${with[@]}" FAKE_DRIVER_ERROR=34
expect "the NVIDIA driver is too old: it is made for CUDA 10.2" LD_LIBRARY_PATH="$driver" FAKE_DRIVER_VERSION=10020

# A device asked for by name is an error of the command's.
said=$(env "${without[@]}" "$bin/anx-parity" check --device cuda /nonexistent.pth 2>&1)
[ $? = 2 ] || { echo "anx-parity check --device cuda: another exit status than 2: $said"; failed=1; }

# Finding out costs next to nothing: the median of eleven.
times=$(for _ in 1 2 3 4 5 6 7 8 9 10 11; do
    TIMEFORMAT=%R
    { time env "${without[@]}" "$bin/anx-parity" devices >/dev/null 2>&1; } 2>&1
done | sort -n | sed -n 6p)
echo "anx-parity devices without a GPU: $times s"
exit $failed
