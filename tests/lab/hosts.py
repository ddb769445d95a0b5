# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The hosts beside the balancer: clients that ask and backends that answer, all real programs."""

from collections import Counter
from dataclasses import dataclass
import hashlib
import itertools
import json
from pathlib import Path
import socket
import sys

from lab.namespace import Namespace
from lab.process import LabError, run, wait_until

SESSIONS = Path(__file__).with_name("sessions.py")
LARGE_BYTES = 12 * 1024 * 1024
SPARE_FILES = 64  # that nginx opens beside its connections
SLOW_RATE = "3m"  # bytes a second that /slow is sent at: some four seconds

_NGINX = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {path}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 100000;
  client_body_temp_path {path}/body;
  proxy_temp_path {path}/proxy;
  fastcgi_temp_path {path}/fastcgi;
  uwsgi_temp_path {path}/uwsgi;
  scgi_temp_path {path}/scgi;
  server {{
    listen 80 backlog=4096; listen [::]:80 backlog=4096;
    listen 8080 backlog=4096; listen [::]:8080 backlog=4096;
    listen 443 ssl; listen [::]:443 ssl;
    listen 8443 ssl; listen [::]:8443 ssl;
    ssl_certificate {shared}/certificate.pem;
    ssl_certificate_key {shared}/key.pem;
    add_header X-Backend {name} always;
    location / {{ return 200 "{name}\\n"; }}
    location /who {{ return 200 "$remote_addr $remote_port $server_addr $server_port\\n"; }}
    location = /large {{ alias {shared}/large; }}
    location = /slow {{ alias {shared}/large; limit_rate {rate}; }}
  }}
}}
"""


class Backend(Namespace):
    """A server. `ipv4` and `ipv6` are its addresses on the inside network."""

    def __init__(self, ground, label, ipv4, ipv6):
        super().__init__(ground, label)
        self.ipv4 = ipv4
        self.ipv6 = ipv6

    def serve_web(self, connections=4096):
        """nginx: HTTP on 80 and 8080, HTTPS on 443 and 8443; so many connections at once.

        `/` answers the backend's name, `/who` the peer as the server sees it, `/large` a file, and
        `/slow` the same file at a limited rate. Every answer has the name in a header X-Backend.
        """
        shared = _shared_files(self.ground.path / "shared")
        conf = self.path / "nginx.conf"
        conf.write_text(_NGINX.format(path=self.path, shared=shared, name=self.label,
                                      rate=SLOW_RATE, connections=connections,
                                      files=connections + SPARE_FILES))
        nginx = self.start("nginx", "nginx", "-e", "stderr", "-p", self.path, "-c", conf)
        nginx.wait_for(lambda: self.listens(8080) and self.listens(8443), "nginx listens")
        return nginx

    def serve_dns(self, port=53):
        """dnsmasq: the TXT record `whoami.test` is the backend's name."""
        dns = self.start("dns", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
                         f"--port={port}", "--user=root", "--pid-file", "--log-facility=-",
                         "--no-resolv", "--no-hosts", f"--txt-record=whoami.test,{self.label}")
        dns.wait_for(lambda: self.listens(port, "udp"), "dnsmasq listens")
        return dns

    def serve_iperf(self, port=5201):
        server = self.start(f"iperf-{port}", "iperf3", "--server", "--port", port)
        server.wait_for(lambda: self.listens(port), "iperf3 listens")
        return server

    def serve_echo(self, port=7):
        """TCP: greets with its name and a newline, then sends back what it is sent; ssh-like."""
        script = Path(__file__).with_name("echo.py")
        server = self.start(f"echo-{port}", sys.executable, script, port, self.label)
        server.wait_for(lambda: self.listens(port), "the echo server listens")
        return server

    def serve_sessions(self, port=9):
        """TCP: answers each line with its name and the line (lab/sessions.py)."""
        server = self.start(f"sessions-{port}", sys.executable, SESSIONS, "serve", port, self.label)
        server.wait_for(lambda: self.listens(port), "the sessions' server listens")
        return server

    def serve_direct(self, *vips):
        """Makes this a `dsr` backend: it holds the VIPs, and answers no ARP or ND for them."""
        self.sysctl("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
        for vip in vips:
            self.address("lo", f"{vip}/{128 if ':' in vip else 32}")


@dataclass
class Download:
    """One curl that fetches one file. `program` is its process."""
    program: object
    body: Path
    headers: Path

    def size(self):
        return self.body.stat().st_size if self.body.exists() else 0

    def backend(self):
        """The name of the backend that serves it."""
        def name():
            text = self.headers.read_text() if self.headers.exists() else ""
            return next((line.split(":")[1].strip() for line in text.splitlines()
                         if line.lower().startswith("x-backend:")), None)
        # One that has ended already is as good.
        wait_until(lambda: name() or not self.program.alive(), "the download has begun")
        return name()

    def intact(self):
        """Whether curl ended well and the bytes are those of the file."""
        return (self.program.wait() == 0
                and hashlib.sha256(self.body.read_bytes()).hexdigest() == large_sha256())


class Holding:
    """Many connections held by one program (lab/sessions.py), and what has become of them."""

    def __init__(self, client, program, report):
        self.client = client
        self.program = program
        self.report = report

    def now(self):
        """How it stands: held, broken, opened, established, messages, completed."""
        lines = [line for line in self.program.output().splitlines() if line.startswith("{")]
        return Counter(json.loads(lines[-1])) if lines else Counter()

    def wait_held(self, count, deadline_s=30.0):
        self.program.wait_for(lambda: self.now()["held"] >= count, f"{count} sessions are held",
                              deadline_s)

    def wait_messages(self, more, deadline_s=30.0):
        """Waits until so many more lines were answered."""
        goal = self.now()["messages"] + more
        self.program.wait_for(lambda: self.now()["messages"] >= goal, f"{more} more answers",
                              deadline_s)

    def end(self):
        """Ends them all; returns the report (see sessions.py)."""
        status = self.program.stop()
        if status != 0:
            raise LabError(f"sessions.py ended with status {status}: {self.program.output()}")
        return json.loads(self.report.read_text())


class Client(Namespace):
    """A host with clients. `ipv4` and `ipv6` list its addresses on the outside network."""

    def __init__(self, ground, label, ipv4, ipv6):
        super().__init__(ground, label)
        self._holdings = itertools.count(1)
        self.ipv4 = ipv4
        self.ipv6 = ipv6

    def curl(self, url, *options, timeout_s=60):
        """One request; returns what was answered."""
        return self.run("curl", "-sSk", "--max-time", "10", *options, url,
                        timeout_s=timeout_s).stdout

    def ask(self, url, count, source=None, parallel=1):
        """Makes `count` connections, one request each; returns a Counter: who answered how often.

        A request that failed is counted under "failed"; a connection used twice is an error.
        """
        options = ["--interface", source] if source else []
        if parallel > 1:
            options += ["--parallel", "--parallel-immediate", "--parallel-max", parallel]
        result = self.run(
            "curl", "-sSk", "--no-progress-meter", "--max-time", "10", "-H", "Connection: close",
            *options, "-o", "/dev/null", "-w",
            "%{exitcode} %{num_connects} %header{x-backend}\\n", f"{url}?[1-{count}]",
            check=False, timeout_s=count + 60)
        return _tally(result.stdout, count)

    def download(self, url, name="download"):
        """Starts one download; see Download."""
        body, headers = self.path / f"{name}.body", self.path / f"{name}.headers"
        for file in (body, headers):
            file.unlink(missing_ok=True)
        curl = self.start(name, "curl", "-sSkg", "-o", body, "-D", headers, url)
        return Download(curl, body, headers)

    def connect(self, address, port, source=None, timeout_s=5.0):
        """A TCP connection from here, as a Python socket."""
        with self.entered():
            return socket.create_connection((address, port), timeout_s,
                                            (source, 0) if source else None)

    def hold(self, address, port, count, *options, sources=None):
        """Opens so many connections, from `sources` in turn (default: all addresses), and keeps
        them talking; see Holding and sessions.py."""
        name = f"hold-{next(self._holdings)}"  # a log of its own
        report = self.path / f"{name}.json"
        sources = sources or (self.ipv6 if ":" in address else self.ipv4)
        program = self.start(name, sys.executable, SESSIONS, "hold", address, port, "--count",
                             count, "--report", report, *options,
                             *[word for source in sources for word in ("--from", source)])
        return Holding(self, program, report)

    def dig(self, server, *options):
        """Asks for the TXT record `whoami.test`, with options of dig; returns its text."""
        answer = self.run("dig", "+short", "+tries=1", "+time=3", f"@{server}", *options,
                          "whoami.test", "TXT").stdout
        return answer.strip().strip('"')

    def forget_neighbours(self):
        self.ip("neighbour", "flush", "all")
        self.ip("-6", "neighbour", "flush", "all")


def _tally(lines, count):
    answers = Counter()
    for line in lines.splitlines():
        status, connects, name = (line.split(" ") + [""])[:3]
        answered = status == "0" and name
        if answered and connects != "1":
            raise LabError(f"a request made {connects} connections instead of one of its own")
        answers[name if answered else "failed"] += 1
    answers["failed"] += count - sum(answers.values())
    return +answers


def _shared_files(path):
    """The throw-away certificate and the large file, made once for a lab."""
    if (path / "large").exists():
        return path
    path.mkdir(exist_ok=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", "/CN=web.test", "-addext", "subjectAltName=DNS:web.test",
        "-keyout", path / "key.pem", "-out", path / "certificate.pem")
    (path / "large").write_bytes(_large_content())
    return path


def _large_content():
    """The same bytes on every machine, with no period that a lost or doubled packet could hide in."""
    return hashlib.shake_128(b"rota").digest(LARGE_BYTES)


def large_sha256():
    return hashlib.sha256(_large_content()).hexdigest()
