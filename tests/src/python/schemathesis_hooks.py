"""Hooks of schemathesis for tests/contract/fuzz.rs.

Handles of the live sandbox take the place of most generated ones, so that requests get past the look-up. A run as a
stranger must never get to anything.
"""

import os
import random

import schemathesis

LIVE = {"id": os.environ["FUZZ_SANDBOX"], "pid": os.environ["FUZZ_PID"], "sid": os.environ["FUZZ_SESSION"]}
STRANGER = os.environ.get("FUZZ_STRANGER") == "1"
# Others stay as generated.
LIVE_SHARE = 0.8
# Seconds of a command: the scripts are random words, but `cat` is one too.
COMMAND_SECONDS = 2


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name in path_parameters or {}:
        if name in LIVE and (STRANGER or random.random() < LIVE_SHARE):
            path_parameters[name] = LIVE[name]
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict):
        if isinstance(body.get("pid"), int) and random.random() < LIVE_SHARE:
            # The end of a live command would be waited for in vain.
            waits = context.operation.path.endswith(("/wait", "/attach"))
            body["pid"] = int(os.environ["FUZZ_ENDED_PID"] if waits else LIVE["pid"])
        if isinstance(body.get("command"), str) and "exec" in context.operation.path:
            body["timeout"] = body.get("timeout", COMMAND_SECONDS)
    return body


@schemathesis.check
def nothing_for_a_stranger(ctx, response, case):
    if STRANGER and "{id}" in case.operation.path:
        assert response.status_code >= 400, f"a stranger got {response.status_code}"
        assert LIVE["id"] not in response.text, "a stranger's answer names the sandbox"


# Bytes are bytes, whatever they are an archive of.
schemathesis.serializer.alias("application/x-tar", "application/octet-stream")
