"""The comparison with peers still runs; only smoother's part of it needs nothing but smoother."""

import json
import subprocess
import sys
from pathlib import Path

COMPARE = Path(__file__).resolve().parents[2] / "benches/peers/compare.py"


def test_smoother_works_off_the_peers_trace(binary, tmp_path):
    out = tmp_path / "figures.json"
    command = [COMPARE, "--requests", "20", "--only", "smoother", "--smoother", binary, "--json", out]
    subprocess.run([sys.executable, *map(str, command)], check=True, timeout=120, cwd=tmp_path)
    (got,) = json.loads(out.read_text())
    assert (got["requests"], got["urgent"], got["lost"], got["twice"]) == (20, 1, 0, 0)
    assert got["calls"] == 20 + got["throttled"]
    assert 1 <= got["stretch"] < 10 and 0 < got["utilisation"] <= 1
    assert 0 <= got["urgent_p99_s"] < 5 and got["cpu_s"] > 0
