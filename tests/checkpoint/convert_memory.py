"""
A conversion takes no more memory than the mapped file and 64 MB, however large the file and however its elements have to
be turned on the way: big-endian, not aligned, converted.
"""
import array
import os
import subprocess
import sys
import tempfile
import zipfile

CONVERT = os.environ["ANX_BUILD_DIR"] + "/tools/anx-convert"
os.environ.pop("GLIBC_TUNABLES", None)  # memory as a user's malloc takes it
ALLOWED = 64 << 20
failures = 0


def run(args, mapped):
    global failures
    with subprocess.Popen([CONVERT, *args], stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    beyond = usage.ru_maxrss * 1024 - mapped
    good = child.returncode == 0 and beyond <= ALLOWED
    failures += not good
    print(f"{'ok' if good else 'FAILED'}: exit {child.returncode}, {beyond / 1e6:.1f} MB beyond the mapping: {args}")


def swapped(source, target):
    """The archive again by Python's zipfile: big-endian, and records where they happen to fall."""
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as b:
        for name in a.namelist():
            data = a.read(name)
            if "/data/" in name:
                values = array.array("I", data)
                values.byteswap()
                data = values.tobytes()
            if name.endswith("/byteorder"):
                data = b"big"
            if name.endswith("serialization_id"):
                continue
            b.writestr(zipfile.ZipInfo(name), data)


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, big = os.path.join(folder, "model.pth"), os.path.join(folder, "big.pth")
        subprocess.run([CONVERT, "init", "--arch", "alexnet", "--seed", "0", "-o", model], check=True,
                       stdout=subprocess.DEVNULL)
        # In a process of its own: the kernel counts the memory of whoever starts a program into that program's peak.
        if os.fork() == 0:
            swapped(model, big)
            os._exit(0)
        if os.wait()[1] != 0:
            return 2
        for source in (model, big):
            size = os.path.getsize(source)
            for ending in ("pth", "safetensors", "bin", "raw"):
                out = os.path.join(folder, "out." + ending)
                run([source, out, "--force"], size)
                os.remove(out)
            out = os.path.join(folder, "half.bin")
            run([source, out, "--dtype", "f16"], size)
            os.remove(out)
        again = os.path.join(folder, "again", "model.pth")
        os.mkdir(os.path.dirname(again))
        run([big, again], os.path.getsize(big))
        if subprocess.run(["cmp", model, again], check=False).returncode != 0:
            print("FAILED: the big-endian archive does not become the little-endian one again")
            return 1
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
