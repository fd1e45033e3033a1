"""The README's block of commands for publishing by hand, run as it stands."""

import os
import pathlib
import re
import subprocess
import tempfile

import pytest

from support import harness

ROOT = pathlib.Path(__file__).parents[2]


def _block():
    readme = (ROOT / "README.md").read_text()
    return re.search(r"<!-- tested: .*?-->\n```sh\n(.*?)```", readme, re.DOTALL).group(1)


@pytest.mark.skipif(
    any(name.startswith("VOLTD_TEST_") for name in os.environ), reason="the block starts servers of its own"
)
def test_publishing_by_hand():
    """The rows, the efficiency and the dead letter are on the screen."""
    with tempfile.TemporaryDirectory(prefix="voltd-test-readme-") as folder:
        pathlib.Path(folder).chmod(0o755)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ["XDG_STATE_HOME"] = f"{folder}/state"
        home = f"{folder}/home"
        block = _block().replace("make setup\n", "").replace("voltd local up", f"voltd local up --home {home}")
        block = block.replace("voltd local env", f"voltd local env --home {home}")
        block = block.replace("voltd local down", f"voltd local down --home {home}")
        assert "sleep 1\n" in block
        block = block.replace("sleep 1\n", f"sleep {harness.contention():.1f}\n")
        try:
            result = subprocess.run(
                ["bash", "-c", block], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=200, check=False
            )
        finally:
            subprocess.run(
                [".venv/bin/voltd", "local", "down", "--home", home], cwd=ROOT, capture_output=True, check=False
            )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"METER-1 +\| 9\.2 \| 10\.0 \| +92\.00 \| ok", result.stdout), result.stdout
    assert "soc: should be at most 100, not 120" in result.stdout
    assert "1 out_of_range" in result.stdout
