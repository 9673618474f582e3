"""anx-parity devices: what is there and what is not, and why; its JSON obeys its schema and agrees with the text. A
plugin of the tests stands for a GPU."""
import json
import os
import subprocess
import sys
import tempfile

SOURCE = os.environ["ANX_SOURCE_DIR"]
BUILD = os.environ["ANX_BUILD_DIR"]
sys.path.insert(0, SOURCE + "/tests/parity")
from schema import problems  # noqa: E402
sys.path.insert(0, SOURCE + "/tests/support")
import checks  # noqa: E402
from checks import check, refuse_constant  # noqa: E402


def run(*arguments, code=0, **environment):
    done = subprocess.run([BUILD + "/tools/anx-parity", "devices", *arguments], capture_output=True, text=True,
                          env={**os.environ, **environment})
    check(done.returncode == code, f"exit {done.returncode}, expected {code}: {arguments}\n{done.stderr}")
    return done


def listed(schema, **environment):
    """The list as JSON, backend by backend, and as text with every run of spaces made one."""
    done = run("--json", "-", **environment)
    report = json.loads(done.stdout, parse_constant=refuse_constant)
    for problem in problems(report, schema, schema):
        check(False, f"{environment}: {problem}")
    text = " ".join(done.stderr.split())
    check(run(**environment).stdout == done.stderr, "the text is another one beside JSON")
    for line in done.stderr.splitlines():
        check(len(line) <= 100 or "/anx_backend_" in line, f"a line of {len(line)} characters: {line}")
    backends = {b["name"]: b for b in report["backends"]}
    for b in report["backends"]:
        check((b["reason"] is None) == (b["devices"] != []), f"{b}")
        for reason in [b["reason"], *(d["reason"] for d in b["devices"])]:
            check(reason is None or " ".join(reason.split()) in text, f"the text lacks {reason!r}")
    check(text.endswith(f"auto {report['auto']}"), text)
    return report, backends, text


def main():
    os.environ["OMP_NUM_THREADS"] = "1"
    schema = json.load(open(f"{SOURCE}/parity/devices.schema.json", encoding="utf-8"))
    plugins = BUILD + "/tests/plugins"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        report, backends, text = listed(schema, ANX_PLUGIN_DIR=folder)
        check(report["auto"] == "cpu", report["auto"])
        check(list(backends) == ["cuda", "cpu", "reference", "exact"], list(backends))
        check([b["plugin"] for b in report["backends"]] == [True, False, False, False], "which are plugins")
        check(folder + "/anx_backend_cuda.so" in backends["cuda"]["reason"], backends["cuda"]["reason"])
        check("cuda not here: the plugin" in text, text)
        facts = backends["exact"]["devices"][0]["facts"]
        check(facts["pytorch_bits"] and facts["threads"] == 1 and facts["memory_bytes"] is None, facts)

        report, backends, text = listed(schema, ANX_PLUGIN_DIR=plugins, SAMPLE_DEVICES="0")
        check(report["auto"] == "cpu", report["auto"])
        check(backends["cuda"]["reason"] == "the sample has no device, as was asked for", backends["cuda"])

        report, backends, text = listed(schema, ANX_PLUGIN_DIR=plugins)
        check(report["auto"] == "cuda", report["auto"])
        device, = backends["cuda"]["devices"]
        facts = device["facts"]
        check(device["name"] == "cuda" and facts["device"] == "cuda:0", device)
        check(facts["memory_bytes"] == 80 << 30 and facts["free_bytes"] == 157 << 29, facts)
        check(facts["capability"] == "9.0" and facts["notes"] == ["NVIDIA_TF32_OVERRIDE=0"], facts)
        check(facts["libraries"] == ["cudart 13.0 /opt/cuda/libcudart.so.13", "cuDNN 9.19.0 /opt/cuda/libcudnn.so.9"],
              facts)
        check("cuda cuDNN 9.19.0, cuBLAS 13.0.2, compute capability 9.0, float64, 1 thread 78.5 of 80.0 GiB of memory "
              "free cudart 13.0 /opt/cuda/libcudart.so.13 cuDNN 9.19.0 /opt/cuda/libcudnn.so.9 note: "
              "NVIDIA_TF32_OVERRIDE=0 cpu oneDNN" in text, text)

        report, backends, text = listed(schema, ANX_PLUGIN_DIR=plugins, SAMPLE_DEVICES="3")
        check([d["name"] for d in backends["cuda"]["devices"]] == ["cuda:0", "cuda:1", "cuda:2"], backends["cuda"])
        check("cuda:2 does not open: device 2 of the sample does not open" in text, text)
        check(report["auto"] == "cuda:0", report["auto"])

        run("--json", "list.json")
        with open("list.json", encoding="utf-8") as f:
            check(json.load(f)["schema"] == 1, "no file")
        check("usage: anx-parity devices" in run("--help").stdout, "no help")
        check("unexpected argument 'cpu'" in run("cpu", code=64).stderr, "an argument")
        check(folder + "/none" in run("--json", folder + "/none/list.json", code=2).stderr, "a file that cannot be")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
