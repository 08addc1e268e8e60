"""Run by an interpreter that has the `fts3` package: what its users do with an FTS server.

Reads a JSON document from standard input, writes one of results to standard output.
"""

import json
import sys
import time

import fts3.rest.client.easy as fts
from fts3.rest.client import exceptions


def attempt(action, *arguments, **named):
    """The result of a call, or the name of the exception it raised."""
    try:
        return action(*arguments, **named)
    except exceptions.FTS3ClientException as error:
        return type(error).__name__


def finished(context, job_id, seconds=30):
    """The job when it is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = fts.get_job_status(context, job_id, list_files=True)
        if job["job_state"] in ("FINISHED", "FAILED", "CANCELED", "FINISHEDDIRTY"):
            break
        time.sleep(0.1)
    return job


def main():
    given = json.load(sys.stdin)

    def new_context():
        return fts.Context(given["fts"], ucert=given["certificate"], ukey=given["key"], verify=True, capath=given["ca"])

    context = new_context()

    def job(sid=None, destination=given["destination"], **more):
        identifier = {"id_generator": "deterministic", "sid": sid} if sid else {}
        transfer = fts.new_transfer(
            given["source"], destination, checksum=f"ADLER32:{given['adler32']}", filesize=given["size"]
        )
        return fts.new_job([transfer], verify_checksum="both", archive_timeout=3600, retry=1, **identifier, **more)

    results = {"api": context.get_endpoint_info()["api"]["major"], "whoami": fts.whoami(context)["user_dn"]}
    results["delegation"] = fts.delegate(context)
    job_id = fts.submit(context, job("peer:1"))
    results["job id"] = job_id
    done = finished(context, job_id)
    results["job state"] = done["job_state"]
    results["file state"] = done["files"][0]["file_state"]
    results["same sid again"] = attempt(fts.submit, context, job("peer:1"))
    exists = finished(context, fts.submit(context, job("peer:2")))
    results["destination exists"] = exists["files"][0]["reason"]
    waiting = fts.submit(context, job("peer:3", given["held"]))
    results["cancel"] = fts.cancel(context, waiting)
    results["several"] = [each["job_id"] for each in fts.get_jobs_statuses(context, [job_id, waiting])]
    results["several, one unknown"] = attempt(fts.get_jobs_statuses, context, [job_id, given["unknown"]])
    results["unknown"] = attempt(fts.get_job_status, context, given["unknown"])
    results["refused"] = attempt(fts.submit, context, {"files": [], "params": {}})
    results["listed"] = [each["job_id"] for each in fts.list_jobs(context)]
    json.dump(results, sys.stdout)


main()
