# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A UDP probe that measures how long a service is away: probe.py ADDRESS PORT SOURCE-PORT FILE.

Sends a numbered datagram each millisecond from one socket, and writes a line per answer to the
file: the time of its arrival (seconds of CLOCK_MONOTONIC, the machine's) and its number.
"""

import socket
import struct
import sys
import time

PERIOD_S = 0.001


def main(address, port, source_port, path):
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    probe.bind(("", int(source_port)))
    target = (address, int(port))
    number = 0
    due = time.monotonic()
    with open(path, "w", buffering=1, encoding="ascii") as answers:
        while True:
            number += 1
            try:
                probe.sendto(struct.pack("!Q", number), target)
            except OSError:
                pass  # no route or neighbour for a moment
            # A late turn is not made up for: a burst would say nothing new.
            due = max(due + PERIOD_S, time.monotonic() - PERIOD_S)
            while (rest := due - time.monotonic()) > 0:
                probe.settimeout(rest)
                try:
                    data = probe.recv(64)
                except (TimeoutError, BlockingIOError):
                    break
                except OSError:
                    continue  # an ICMP error
                answers.write(f"{time.monotonic():.6f} {struct.unpack('!Q', data)[0]}\n")


main(*sys.argv[1:])
