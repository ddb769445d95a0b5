# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""An idle, ssh-like connection, to see that it stays."""

LINE = b"still there?\n"


class Shell:
    """A connection from the client to an echo server (lab/echo.py): says something now and then,
    and must hear it back. `server` is the name in the server's greeting."""

    def __init__(self, lab, address, port=7, source=None):
        self.socket = lab.client.connect(address, port, source)
        self.file = self.socket.makefile("rb")
        self.greeting = self.file.readline()
        self.server = self.greeting.decode().strip()

    def say(self):
        self.socket.sendall(LINE)

    def hears(self):
        """Whether the next line is what was said."""
        return self.file.readline() == LINE

    def answers(self):
        self.say()
        return self.hears()

    def close(self):
        self.socket.close()
