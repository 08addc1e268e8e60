"""Run by the system's Python, which has gfal2's bindings: does to our servers what FTS and its users do.

Reads a JSON document of addresses and credentials from standard input, writes one of results to standard output.
"""

import json
import sys
import time

import gfal2


def attempt(action, *arguments):
    """The result of a call, or gfal2's error as [errno, text]."""
    try:
        return action(*arguments)
    except gfal2.GError as error:
        return {"errno": error.code, "text": error.message}


def until(action, seconds=20):
    """Call until the result is not 0."""
    end = time.monotonic() + seconds
    while (result := attempt(action)) == 0 and time.monotonic() < end:
        time.sleep(0.05)
    return result


def main():
    given = json.load(sys.stdin)
    context = gfal2.creat_context()
    context.set_opt_string("X509", "CERT", given["certificate"])
    context.set_opt_string("X509", "KEY", given["key"])
    context.set_opt_boolean("HTTP PLUGIN", "ENABLE_FALLBACK_TPC_COPY", False)
    context.set_opt_boolean("HTTP PLUGIN", "RETRIEVE_BEARER_TOKEN", True)
    tape, gateway, adler32 = given["tape"], given["gateway"], given["adler32"]

    def copy(name, mode="3rd pull", checksum=adler32, source=gateway):
        context.set_opt_string("HTTP PLUGIN", "DEFAULT_COPY_MODE", mode)
        parameters = context.transfer_parameters()
        parameters.create_parent = True
        parameters.timeout = 60
        parameters.set_checksum(gfal2.checksum_mode.both, "ADLER32", checksum)
        return attempt(context.filecopy, parameters, source, f"{tape}/{name}")

    results = {
        "stat gateway": attempt(lambda: context.stat(gateway).st_size),
        "checksum gateway": attempt(context.checksum, gateway, "ADLER32"),
        "stat missing": attempt(context.stat, f"{tape}/none"),
        "copy wrong checksum": copy("wrong.tar", checksum="00000001"),
        "copy pull": copy("a.tar"),
        "copy exists": copy("a.tar"),
        "copy streamed": copy("b.tar", mode="streamed"),
        "copy missing": copy("n.tar", source=given["missing"]),
        "stat": attempt(lambda: context.stat(f"{tape}/a.tar").st_size),
        "checksum": attempt(context.checksum, f"{tape}/a.tar", "ADLER32"),
        "sitename": attempt(context.getxattr, tape, "taperestapi.sitename"),
        "archive_poll": until(lambda: context.archive_poll(f"{tape}/a.tar")),
        "listdir": attempt(context.listdir, tape),
    }
    time.sleep(given["keep"] + 0.5)
    results["status on tape"] = attempt(context.getxattr, f"{tape}/a.tar", "user.status")
    results["read on tape"] = copy("c.tar", mode="streamed", source=f"{tape}/a.tar")
    _, token = context.bring_online(f"{tape}/a.tar", 172800, 86400, True)
    results["bring_online_poll"] = until(lambda: context.bring_online_poll(f"{tape}/a.tar", token))
    results["status staged"] = attempt(context.getxattr, f"{tape}/a.tar", "user.status")
    results["release"] = attempt(context.release, f"{tape}/a.tar", token)
    results["status released"] = attempt(context.getxattr, f"{tape}/a.tar", "user.status")
    results["unlink"] = attempt(context.unlink, f"{tape}/b.tar")
    results["unlink missing"] = attempt(context.unlink, f"{tape}/b.tar")
    json.dump(results, sys.stdout, default=str)


main()
