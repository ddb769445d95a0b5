# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What `./dev rate` measures: kinds of traffic on kinds of devices."""

from dataclasses import dataclass

from devices import REPLAY, RING, RING_PACKETS, Device

FRAME_ROOM = 2048
SMALL_FRAME_ROOM = 128  # ten million buffers of it fit into 5 GB
FLOWS_MIN = 1024        # of a node file
UNPROVEN_SPARE = 8      # so sparse that no bucket of the unproven region overflows


@dataclass(frozen=True)
class Case:
    """One kind of traffic on one device. `traffic`:

    established  every packet finds its flow's record, imported before
    new          every packet is a SYN that opens a flow: the first lap of the capture
    flood        every packet is a SYN, and the unproven region has no room for its flow
    """
    family: str  # ipv4, ipv6
    mode: str    # dnat, dsr
    flows: int
    traffic: str = "established"
    device: Device = REPLAY

    @property
    def name(self):
        words = [self.family, self.mode, str(self.flows)]
        if self.traffic != "established":
            words.append(self.traffic)
        if self.device is not REPLAY:
            words.insert(0, self.device.name.removeprefix("net_"))
        return "-".join(words)

    @property
    def frame_room(self):
        """Of a packet buffer; the same for both programs."""
        return SMALL_FRAME_ROOM if self.flows > 2_000_000 else FRAME_ROOM

    @property
    def node_flows(self):
        """The node file's sizes."""
        unproven = self.flows * UNPROVEN_SPARE if self.traffic == "new" else FLOWS_MIN
        # The other family's are there because ipv4 + ipv6 may not be less than unproven.
        sizes = {"ipv4": unproven, "ipv6": unproven, "unproven": unproven}
        return sizes | {self.family: max(self.flows, FLOWS_MIN)}

    @property
    def bytes(self):
        """Of huge pages, about: buffers, rings, flow memory."""
        buffer = self.frame_room + 320 + 48
        sizes = self.node_flows
        return (self.flows * buffer + sizes["ipv4"] * 31 + sizes["ipv6"] * 62
                + sizes["unproven"] * 93 + (320 << 20))

    def words(self):
        """What rate_capture and rate_load must know."""
        return ["--flows", self.flows, *(["--ipv6"] if self.family == "ipv6" else [])]


def default_cases():
    kinds = [(family, mode) for family in ("ipv4", "ipv6") for mode in ("dnat", "dsr")]
    return [
        *[Case(*kind, flows) for kind in kinds for flows in (1000, 65536, 1_000_000, 10_000_000)],
        *[Case(*kind, flows, "new") for kind in kinds for flows in (65536, 1_000_000)],
        *[Case(family, "dnat", 1_000_000, "flood") for family in ("ipv4", "ipv6")],
        *[Case(family, "dsr", RING_PACKETS, device=RING) for family in ("ipv4", "ipv6")],
    ]


def quick_cases():
    return [Case("ipv4", "dnat", 65536)]
