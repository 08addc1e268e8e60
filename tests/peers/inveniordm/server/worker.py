"""Run the background tasks of the instance, one after the other, until it is stopped."""

import osmem_compat
from invenio_app.celery import celery

osmem_compat.install()
celery.worker_main(["worker", "--pool=solo", "--loglevel=INFO", "--without-gossip", "--without-mingle"])
