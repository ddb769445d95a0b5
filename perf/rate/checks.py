# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""When a run counts. Anything else is a LabError that says what came instead."""

import re

from lab import LabError

COUNTED = re.compile(r"port (\w+): its device counted (\d+) received, (\d+) sent, (\d+) missed, "
                     r"(\d+) without buffer, (\d+) receive errors, (\d+) send errors")
WORDS = ("received", "sent", "missed", "without_buffer", "receive_errors", "send_errors")


def check_traffic(case, figures):
    """Every packet that was measured met what the case is about."""
    packets, flows = figures["packets"], case.flows
    held = figures["orphans"] == 0 and figures["drops"] == 0 and {
        "established": figures["hits"] == packets and figures["table_flows"] == flows,
        "new": (figures["new_flows"] == packets == flows == figures["table_flows"]
                and figures["stateless"] == 0),
        "flood": figures["stateless"] > 0.99 * packets,
    }[case.traffic]
    if not held:
        raise LabError(f"{case.name}: the run is void, not every packet was {case.traffic}: "
                       f"{figures}")


def counted_by_devices(log):
    """What rota-dataplane says at its end that its ports' devices counted, by port."""
    return {name: dict(zip(WORDS, map(int, counts))) for name, *counts in COUNTED.findall(log)}


def check_counters(case, ports, rota, devices):
    """What Rota counted in the whole run is what its devices counted, and nothing is missing.

    `ports`: names of port 0 and 1.
    """
    none = dict.fromkeys(WORDS, 0)
    expected = {name: dict(none) for name in ports}
    expected[ports[case.device.receives]]["received"] = rota["received"]
    expected[ports[case.device.sends]]["sent"] = rota["sent"]
    conserved = (rota["received"] + rota["from_kernel"]
                 == rota["sent"] + rota["punted"] + rota["dropped"])
    all_sent = rota["sent"] == rota["served"] + rota["from_kernel"]
    if devices != expected or not conserved or not all_sent:
        raise LabError(f"{case.name}: the run is void, Rota counted {rota}, its devices {devices}")
