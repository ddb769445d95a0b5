#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Writes a capture for capture.lua: one frame of 64 bytes (60 without checksum) of each flow.

    perf/pktgen/capture.py FILE --flows N --mac MAC [--vip ADDRESS:PORT] [--syn]

UDP packets, which open a flow and belong to it ever after; with --syn SYNs. Flows differ in the
client's address and port, and come in random order.
"""

import argparse
import ipaddress
import random
import struct

PORTS_EACH = 64  # of one client's address
FIRST_PORT = 20000
FRAME_BYTES = 60


def ones_sum(data):
    """The sum of 16-bit words that internet checksums are made of (RFC 1071), not folded yet."""
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def checksum(total):
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Template:
    """A frame without what differs between flows: the client and both checksums."""

    def __init__(self, mac, vip, port, syn):
        self.protocol = 6 if syn else 17
        l4_bytes = 20 if syn else FRAME_BYTES - 34
        self.ethernet = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x01\x08\0"
        self.ip = struct.pack("!BBHHHBB", 0x45, 0, 20 + l4_bytes, 0, 0, 64, self.protocol)
        self.vip = vip.packed
        if syn:  # sequence, acknowledgement, 20 bytes long, SYN, window
            head, tail = struct.pack("!HIIBBH", port, 1, 0, 0x50, 0x02, 65535), b"\0\0"
        else:
            head, tail = struct.pack("!HH", port, l4_bytes), b""
        padding = bytes(FRAME_BYTES - 34 - 2 - len(head) - 2 - len(tail))
        self.head, self.tail = head, tail + padding
        self.ip_sum = ones_sum(self.ip + self.vip)
        self.l4_sum = ones_sum(self.vip + head + self.tail) + self.protocol + l4_bytes

    def frame(self, client, port):
        client_sum = (client >> 16) + (client & 0xffff)
        return b"".join((
            self.ethernet, self.ip, struct.pack("!HI", checksum(self.ip_sum + client_sum), client),
            self.vip, struct.pack("!H", port), self.head,
            # A UDP checksum of zero would mean that there is none.
            struct.pack("!H", checksum(self.l4_sum + client_sum + port) or 0xffff), self.tail))


def write(path, template, first_client, flows):
    order = list(range(flows))
    random.Random(7).shuffle(order)
    record = struct.pack("<IIII", 0, 0, FRAME_BYTES, FRAME_BYTES)
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for flow in order:
            file.write(record + template.frame(first_client + flow // PORTS_EACH,
                                               FIRST_PORT + flow % PORTS_EACH))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--flows", type=int, required=True)
    parser.add_argument("--mac", required=True, help="of Rota's outside port")
    parser.add_argument("--vip", default="203.0.113.10:1028", help="ADDRESS:PORT of the service")
    parser.add_argument("--clients", type=ipaddress.IPv4Address, default="198.18.0.1",
                        help="the first client's address (default %(default)s)")
    parser.add_argument("--syn", action="store_true", help="TCP, each packet a SYN")
    words = parser.parse_args()
    address, port = words.vip.rsplit(":", 1)
    template = Template(words.mac, ipaddress.IPv4Address(address), int(port), words.syn)
    write(words.file, template, int(words.clients), words.flows)


if __name__ == "__main__":
    main()
