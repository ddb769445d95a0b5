# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The devices that packets come from and go to, the same for both programs. Each has two ports:
port 0 faces the clients, port 1 the backends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    name: str
    receives: int  # the port that packets come in at
    sends: int     # the port that they leave by
    virtual: tuple  # a virtual device for each port; {capture} stands for the file
    # testpmd: how it is told to forward, and to start.
    options: tuple = ()
    start: str = "start"
    # Packets go round: they are put in once, through the kernel side of this port.
    put_in: int | None = None

    def vdevs(self, capture):
        return [words.format(capture=capture) for words in self.virtual]


# The capture, over and over: each packet is copied into a buffer of its own, as a NIC does.
REPLAY = Device("net_pcap", receives=0, sends=1,
                virtual=("net_pcap0,rx_pcap={capture},infinite_rx=1", "net_null0,no-rx=1"))

# A ring gives back what it was given, without a copy: the packets of a `dsr` service, which change
# only their MAC addresses, go round for ever. It holds 1023.
RING_PACKETS = 15 * 64
RING = Device("net_ring", receives=1, sends=1, virtual=("net_null0,no-rx=1", "net_ring0"),
              options=("--port-topology=loop",), start=f"start tx_first {RING_PACKETS // 64}",
              put_in=1)
