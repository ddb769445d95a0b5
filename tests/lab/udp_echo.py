# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A UDP server that sends back what it is sent: udp_echo.py PORT ADDRESS...

It binds to each address, so that an answer leaves from the one that was asked: a backend of `dsr`
answers from the VIP.
"""

import selectors
import socket
import sys

selector = selectors.DefaultSelector()
for address in sys.argv[2:]:
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                           socket.SOCK_DGRAM)
    server.bind((address, int(sys.argv[1])))
    selector.register(server, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        data, client = key.fileobj.recvfrom(2048)
        try:
            key.fileobj.sendto(data, client)
        except OSError:
            pass  # no route for a moment: as good as lost on the wire
