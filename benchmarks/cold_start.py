"""Cold start of every function in the layout of the image: from the start of its process to its first 2xx answer.

And its memory when idle: what gunicorn's worker and arbiter hold together, after what only real requests need was
imported too. The image's tree is made first, by the commands of the Dockerfile. On a machine that does other things the
seconds of processor tell more than those of the clock.

python benchmarks/cold_start.py [--runs 3] [FUNCTION…]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.image import FUNCTIONS, NoPackages, Started, build_image, served

MIB = 2**20
BUILD_SECONDS = 200
START_SECONDS = 20


def main() -> int:
    """Measure and print a row for each function as it is done; 1 if one did not answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", default=FUNCTIONS)
    asked = parser.parse_args()
    silent = 0
    with TemporaryDirectory(prefix="perdura-image-") as folder:
        root = Path(folder)
        begun = time.monotonic()
        try:
            build_image(root, BUILD_SECONDS)
        except NoPackages as missing:
            raise SystemExit(str(missing)) from missing
        print(f"image built in {time.monotonic() - begun:.0f} s", flush=True)
        print("| function | median | slowest | processor | to reach | idle worker + arbiter | to reach |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for function in asked.functions:
            try:
                # The first start reads the files from the disk; it is not counted.
                starts = [start(root, function) for _ in range(asked.runs + 1)][1:]
            except AssertionError as failure:
                silent += 1
                print(f"| {function} | {failure} |", flush=True)
            else:
                print(row(function, starts), flush=True)
    return 1 if silent else 0


def start(root: Path, function: str) -> Started:
    """Start a function once and end it."""
    with served(root, function, root / "log", START_SECONDS) as started:
        return started


def row(function: str, starts: list[Started]) -> str:
    """What several starts of a function say."""
    times = [each.seconds for each in starts]
    largest = max(starts, key=lambda each: each.memory)
    return (
        f"| {function} | {statistics.median(times):.2f} s | {max(times):.2f} s "
        f"| {statistics.median(each.cpu for each in starts):.2f} s | < 1 s "
        f"| {largest.worker / MIB:.0f} + {largest.arbiter / MIB:.0f} MiB | ≤ 120 MiB |"
    )


if __name__ == "__main__":
    sys.exit(main())
