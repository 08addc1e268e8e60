"""`python -m perdura.local.upstream --port N`: serve the demo repository until interrupted."""

from __future__ import annotations

import argparse
import signal
from types import FrameType

from perdura.local.upstream.records import records
from perdura.local.upstream.server import RepositoryServer


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve on 127.0.0.1; port 0 takes a free one. Prints the URL once it accepts connections."""
    parser = argparse.ArgumentParser(prog="perdura.local.upstream", description="Serve the demo repository.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    records()
    with RepositoryServer(arguments.port) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
