"""gunicorn's configuration for every function: `gunicorn -c python:perdura.runtime.server …` (serverless.md 2.1).

`PORT`, `HOST` and `THREADS` come from the environment; `THREADS` equals the Knative Service's containerConcurrency.
Threads for the probes are added to them: Kubernetes asks for signs of life while every request's thread is at work, and
ends a container that gives none.
`METRICS_PORT` opens a second port for Prometheus; the relay's also tells how much work waits. `ACCESS_LOG=off` leaves
out the access log.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8080')}"  # noqa: S104 - a container's contract
workers = 1
worker_class = "perdura.runtime.worker.LingeringWorker"
PROBED = 2
"""Threads beside those of requests: the liveness and the readiness probe may come at the same time."""

threads = int(os.environ.get("THREADS", "4")) + PROBED
timeout = 0
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT", "570"))
keepalive = 75
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - gunicorn's heartbeat file
control_socket_disable = True
logger_class = "perdura.runtime.access_log.AccessLog"
accesslog = None
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "warning").lower()
proc_name = os.environ.get("FUNCTION", "perdura")


def post_worker_init(worker: Any) -> None:
    """Set up logging in the worker, where the function lives, and let its threads take turns.

    A thread that the database or a client has answered waits for the one that computes: 5 ms unless told otherwise.
    """
    sys.setswitchinterval(0.0005)
    from perdura.runtime import observation

    observation.observe()
    gc.collect()
    gc.freeze()  # what was imported stays: looking for garbage among it takes a tenth of the time of many an answer
    worker.log.debug("worker ready")
