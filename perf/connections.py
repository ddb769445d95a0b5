#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Real connections through Rota to nginx in the lab, from very many clients. Needs root.

    sudo /usr/bin/python3 perf/connections.py [--ipv6] [--backends N] [--kill S] [--kernel]
        -- OPTIONS of rota-connections

Lays the lab, starts Rota and rota-connections, and prints what this prints. --kill: S seconds after
the start rota-dataplane is killed (-9), and started again. --kernel: to the first nginx, with lb's
kernel as a mere router, to see what the rest of the machine can do.
"""

import argparse
import json
from pathlib import Path
import resource
import sys
import time

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import Lab  # noqa: E402  (the path comes first)
from lab.crowd import Crowd  # noqa: E402
from lab.hosts import SPARE_FILES  # noqa: E402
from lab.services import add_service  # noqa: E402

FLOWS = {"ipv4": 1_000_000, "ipv6": 250_000, "unproven": 65536}


def main(options):
    with Lab(backends=options.backends, web=False, forward=options.kernel) as lab:
        for backend in lab.backends:
            backend.serve_web(connections_of_one_server())
        target = router(lab, options) if options.kernel else balancer(lab, options)
        crowd = Crowd(lab)
        program = crowd.start(*target, *options.words)
        if options.kill:
            time.sleep(options.kill)
            kill(lab)
        outcome = crowd.outcome(program, deadline_s=3600)
        print(program.log.read_text(), json.dumps(outcome), sep="")


def connections_of_one_server():
    """As many as it may have files open."""
    return min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)


def balancer(lab, options):
    lab.start(flows=FLOWS)
    vip = lab.vip6 if options.ipv6 else lab.vip4
    add_service(lab, "web", vip, 80, 8080, words=("--check", "none"))
    return vip, 80


def router(lab, options):
    first = lab.backends[0]
    return (first.ipv6 if options.ipv6 else first.ipv4), 8080, "--gateway", \
        ("2001:db8::2" if options.ipv6 else "203.0.113.2")


def kill(lab):
    started = time.monotonic()
    lab.lb.dataplane.kill()
    lab.lb.start_dataplane()
    lab.lb.wait_settled()
    print(f"rota-dataplane was killed, and forwarded again after {time.monotonic() - started:.2f} s")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipv6", action="store_true")
    parser.add_argument("--backends", type=int, default=3)
    parser.add_argument("--kill", type=float)
    parser.add_argument("--kernel", action="store_true")
    parser.add_argument("words", nargs="*", metavar="-- OPTION")
    options = parser.parse_args()
    if options.kernel and options.kill:
        parser.error("--kill kills Rota, which --kernel does without")
    return options


if __name__ == "__main__":
    main(arguments())
