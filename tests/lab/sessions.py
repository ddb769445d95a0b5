# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Many TCP connections that talk all the time, each message numbered, to see whether one breaks.

    sessions.py serve PORT NAME
        Answers each line with its name and the line.
    sessions.py hold TARGET PORT --count N [--rate R] [--churn R] [--from ADDRESS ...] --report FILE
        Opens N connections, R a second, and on each sends a numbered line every --interval seconds.
        --churn: beside them R connections a second that exchange one line and end, --churn-for so
        many seconds; one that is not done --patience seconds after its SYN is given up, as late.
        Says how it stands ten times a second; ends on SIGTERM, and writes what it saw as JSON.

Broken is: reset, ended, answered by another server than before, a wrong byte, or silent for
--silence seconds after a line was sent. One thread, epoll: a thousand connections cost a tenth of a
core.
"""

import argparse
from collections import Counter
import errno
import heapq
import itertools
import json
import math
import select
import signal
import socket
import sys
import time


# ---- the server ----

def serve(port, name):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=4096,
                                    dualstack_ipv6=True)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients = {}
    greeting = f"{name} ".encode()
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                accept_all(listener, poll, clients)
            elif not answer(clients[fd], greeting):
                poll.unregister(fd)
                clients.pop(fd).close()


def accept_all(listener, poll, clients):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN)


def answer(client, greeting):
    """Answers whole lines; they are short and come one at a time. False: the client has ended."""
    try:
        data = client.recv(4096)
        if data:
            client.sendall(b"".join(greeting + line for line in data.splitlines(keepends=True)))
        return bool(data)
    except OSError:
        return False


# ---- the clients ----

class Session:
    """One connection. `held` ones talk on, the others end after one answer."""

    def __init__(self, number, held, now):
        self.number = number
        self.held = held
        self.socket = None
        self.began = now
        self.established = None
        self.server = None
        self.sent = 0
        self.line = b""
        self.heard = b""
        self.waits_since = None  # for an answer


class Sessions:
    def __init__(self, options):
        self.options = options
        self.poll = select.epoll()
        self.by_fd = {}
        self.due = []  # (when, serial, what to do)
        self.serial = itertools.count()
        self.numbers = itertools.count()
        self.broken = []
        self.counts = Counter()
        self.servers = Counter()
        self.held = 0
        self.ending = False
        self.longest_s = 0.0

    def run(self):
        signal.signal(signal.SIGTERM, self.end)
        now = time.monotonic()
        for i in range(self.options.count):
            self.at(now + i / self.options.rate, self.open, True)
        if self.options.churn:
            self.at(now, self.churn, now, now + self.options.churn_for)
        started = now
        self.at(now, self.tell)
        while not self.ending:
            self.turn()
        seconds = time.monotonic() - started
        for session in list(self.by_fd.values()):
            session.socket.close()
        return self.report(seconds)

    def end(self, *_):
        self.ending = True

    def report(self, seconds):
        return {"seconds": round(seconds, 2), "held": self.held, "broken": self.broken,
                "counts": dict(self.counts), "servers": dict(self.servers),
                "longest_silence_s": round(self.longest_s, 3),
                "churn_per_s": round(self.counts["completed"] / seconds, 1)}

    # -- time --

    def at(self, when, what, *args):
        heapq.heappush(self.due, (when, next(self.serial), what, args))

    def turn(self):
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            _, _, what, args = heapq.heappop(self.due)
            what(*args)
        wait = min(self.due[0][0] - now, 0.1) if self.due else 0.1
        for fd, events in self.poll.poll(max(wait, 0)):
            session = self.by_fd.get(fd)
            if session is not None:
                self.ready(session, events)

    def tell(self):
        """A line a tenth of a second, for who waits for something."""
        print(json.dumps({"held": self.held, "broken": len(self.broken), **self.counts}), flush=True)
        self.at(time.monotonic() + 0.1, self.tell)

    def churn(self, when, end):
        self.open(False)
        # What is late by more is not made up for: it would keep the answers waiting.
        due = max(when + 1 / self.options.churn, time.monotonic() - 0.1)
        if due < end:
            self.at(due, self.churn, due, end)

    # -- one session --

    def open(self, held):
        number = next(self.numbers)
        session = Session(number, held, time.monotonic())
        family = socket.AF_INET6 if ":" in self.options.target else socket.AF_INET
        session.socket = socket.socket(family, socket.SOCK_STREAM)
        session.socket.setblocking(False)
        session.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.options.source:
            session.socket.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            session.socket.bind((self.options.source[number % len(self.options.source)], 0))
        outcome = session.socket.connect_ex((self.options.target, self.options.port))
        self.counts["opened"] += 1
        if outcome != errno.EINPROGRESS:
            self.counts["not_opened"] += 1
            return session.socket.close()
        self.by_fd[session.socket.fileno()] = session
        self.poll.register(session.socket, select.EPOLLOUT)
        if self.options.patience and not held:
            self.at(session.began + self.options.patience, self.give_up, session)
        return None

    def ready(self, session, events):
        if session.established is None:
            return self.opened(session)
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self.hear(session)
        return None

    def opened(self, session):
        if session.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            self.counts["not_opened"] += 1
            self.close(session)
            if session.held and not self.ending:
                self.at(time.monotonic() + 1, self.open, True)
            return
        session.established = time.monotonic()
        self.counts["established"] += 1
        self.held += session.held
        self.poll.modify(session.socket, select.EPOLLIN)
        self.say(session)

    def say(self, session):
        if session.socket.fileno() < 0:
            return
        session.sent += 1
        session.line = f"{session.number}:{session.sent}\n".encode()
        session.heard = b""
        session.waits_since = time.monotonic()
        try:
            session.socket.send(session.line)
        except OSError as error:
            return self.breaks(session, errno.errorcode.get(error.errno, "error"))
        self.at(session.waits_since + self.options.silence, self.look_after, session, session.sent)

    def look_after(self, session, sent):
        if session.socket.fileno() >= 0 and session.sent == sent and session.waits_since:
            self.breaks(session, "silent")

    def hear(self, session):
        try:
            data = session.socket.recv(4096)
        except OSError as error:
            return self.breaks(session, errno.errorcode.get(error.errno, "error"))
        if not data:
            return self.breaks(session, "ended")
        session.heard += data
        if not session.heard.endswith(b"\n"):
            return None
        name, _, line = session.heard.partition(b" ")
        if line != session.line or session.waits_since is None:
            return self.breaks(session, "wrong byte")
        if session.server is None:
            session.server = name
            self.servers[name.decode()] += 1
        elif session.server != name:
            return self.breaks(session, "wrong server")
        return self.answered(session)

    def answered(self, session):
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - session.waits_since)
        session.waits_since = None
        self.counts["messages"] += 1
        if session.held:
            self.at(session.established + session.sent * self.options.interval
                    if session.sent * self.options.interval > now - session.established
                    else now + self.options.interval, self.say, session)
        else:
            self.counts["completed"] += 1
            self.close(session)

    def give_up(self, session):
        if session.socket.fileno() >= 0:
            self.counts["late"] += 1
            self.close(session)

    def breaks(self, session, how):
        now = time.monotonic()
        self.broken.append({"how": how, "held": session.held,
                            "age_s": round(now - session.established, 3), "at": round(now, 3)})
        self.held -= session.held
        self.close(session)

    def close(self, session):
        fd = session.socket.fileno()
        if self.by_fd.pop(fd, None) is not None:
            self.poll.unregister(fd)
        session.socket.close()


IP_BIND_ADDRESS_NO_PORT = 24


def options_of(words):
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("serve")
    server.add_argument("port", type=int)
    server.add_argument("name")
    client = roles.add_parser("hold")
    client.add_argument("target")
    client.add_argument("port", type=int)
    client.add_argument("--count", type=int, default=0)
    client.add_argument("--rate", type=float, default=500, help="of opening, a second")
    client.add_argument("--churn", type=float, default=0)
    client.add_argument("--churn-for", type=float, default=math.inf)
    client.add_argument("--patience", type=float, default=0, help="0: no end of it")
    client.add_argument("--interval", type=float, default=0.2)
    client.add_argument("--silence", type=float, default=5)
    client.add_argument("--from", dest="source", action="append")
    client.add_argument("--report", required=True)
    return parser.parse_args(words)


def main(words):
    options = options_of(words)
    if options.role == "serve":
        serve(options.port, options.name)
    report = Sessions(options).run()
    with open(options.report, "w", encoding="utf-8") as file:
        json.dump(report, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
