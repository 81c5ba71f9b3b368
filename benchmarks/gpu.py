"""Everything to measure on a GPU, in eight minutes: the GPU tests, then the benchmarks, with one line of JSON each.

Each runs in its own process with a time limit, so that a failure does not affect the others; exits with 1 if any fails.
"""

from __future__ import annotations

import subprocess
import sys
import time

from side_by_side import ROOT, report

BENCHMARKS = ROOT / "benchmarks"
WORK: dict[str, tuple[int, list[str]]] = {  # time limit in seconds, and arguments
    "tests": (140, ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", str(ROOT / "tests" / "gpu")]),
    "scoring": (75, [str(BENCHMARKS / "scoring.py"), "--images", "512", "--batches", "256", "1024", "4096"]),
    "unlearning": (75, [str(BENCHMARKS / "unlearning.py"), "--rounds", "3"]),
    "startup": (40, [str(BENCHMARKS / "startup.py"), "--rounds", "2"]),
    "stable diffusion": (60, [str(BENCHMARKS / "stable_diffusion.py"), "--steps", "3"]),
    "forward": (90, [str(BENCHMARKS / "forward.py"), "--preset", "", "fashion_mnist", "--batch", "256"]),
}


def main() -> None:
    failed = []
    for name, (limit, arguments) in WORK.items():
        started = time.perf_counter()
        try:
            code = subprocess.run([sys.executable, *arguments], timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            code = -1
        report("gpu", "", part=name, seconds=time.perf_counter() - started, exit_code=code)
        failed += [name] if code else []
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
