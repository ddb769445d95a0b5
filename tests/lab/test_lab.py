# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""The lab itself: what it promises to tests, without Rota in between."""

from pathlib import Path
import signal
import subprocess
import sys

import pytest

from lab import Lab, LabError, ground, run
from lab.hosts import LARGE_BYTES


@pytest.fixture(scope="module")
def lab():
    with Lab(backends=2, clients=2, forward=True) as lab:
        yield lab


def test_clients_reach_each_web_server_over_both_families_and_tls(lab):
    for backend in lab.backends:
        for url in (f"http://{backend.ipv4}:8080/", f"http://[{backend.ipv6}]:8080/",
                    f"https://{backend.ipv4}:8443/", f"https://[{backend.ipv6}]:8443/"):
            assert lab.client.ask(url, 5) == {backend.label: 5}


def test_parallel_requests_are_all_counted(lab):
    assert lab.client.ask(f"http://{lab.backends[0].ipv4}:8080/", 100, parallel=64) == {"be1": 100}


def test_a_request_that_nobody_answers_counts_as_failed(lab):
    assert lab.client.ask(f"http://{lab.backends[0].ipv4}:9999/", 3) == {"failed": 3}


def test_a_request_comes_from_the_source_address_that_is_asked_for(lab):
    backend = lab.backends[0]
    for source, server in zip(lab.client.ipv4 + lab.client.ipv6,
                              [backend.ipv4] * 2 + [f"[{backend.ipv6}]"] * 2):
        who = lab.client.curl(f"http://{server}:8080/who", "--interface", source)
        assert who.split()[0] == source


def test_a_download_tells_who_serves_it_and_whether_each_byte_is_right(lab):
    download = lab.client.download(f"http://{lab.backends[1].ipv4}:8080/large")
    assert download.backend() == "be2"
    assert download.intact()
    assert download.size() == LARGE_BYTES
    with open(download.body, "r+b") as body:
        body.seek(LARGE_BYTES // 2)
        body.write(b"?")
    assert not download.intact()


def test_no_sender_leaves_checksums_to_hardware(lab):
    for host, interface in [(lab.client, "eth0"), (lab.lb, "out0"), (lab.lb, "in0"),
                            *[(backend, "eth0") for backend in lab.backends]]:
        features = host.run("ethtool", "-k", interface).stdout
        assert "tx-checksumming: off" in features
        assert "generic-receive-offload: off" in features


def test_dns_echo_and_iperf_servers_answer(lab):
    backend = lab.backends[0]
    backend.serve_dns()
    assert lab.client.dig(backend.ipv6) == "be1"
    backend.serve_iperf()
    lab.client.run("iperf3", "--client", backend.ipv4, "--time", "1")
    backend.serve_echo(22)
    with lab.client.connect(backend.ipv4, 22) as connection:
        assert connection.recv(100) == b"be1\n"
        connection.sendall(b"still there?")
        assert connection.recv(100) == b"still there?"


def test_a_program_that_died_is_told_with_its_last_words(lab):
    program = lab.client.start("sh", "sh", "-c", "echo out of luck; exit 3")
    with pytest.raises(LabError, match="(?s)status 3.*out of luck"):
        program.wait_for(lambda: False, "something that never comes")


def test_each_node_has_a_bpffs_that_no_other_sees(lab):
    assert run("stat", "-f", "-c", "%T", lab.lb.run_dir / "bpf").stdout.strip() == "bpf_fs"


LEFT = """
import sys, time
from lab import Lab
lab = Lab(backends=1, hugepages=8)
print(lab.name, flush=True)
if "keep" in sys.argv: lab.keep()
else: time.sleep(600)
"""


def start_another(*words):
    """A lab in a process of its own; returns the process and the lab's name."""
    process = subprocess.Popen([sys.executable, "-c", LEFT, *words], text=True,
                               stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    return process, process.stdout.readline().strip()


def traces(name):
    """What of a lab is there: its folder, namespaces, mounts, programs."""
    mounts = Path("/proc/self/mountinfo").read_text()
    programs = run("pgrep", "-f", f"/run/{name}/", check=False).stdout.split()
    found = {"folder": Path(f"/run/{name}").exists(), "mount": f"/run/{name}" in mounts,
             "namespace": any(Path("/run/netns").glob(f"{name}-*")),
             "program": any(alive(pid) for pid in programs)}
    return {what for what, there in found.items() if there}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text() != ""
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_lab_that_was_ended_leaves_nothing_behind(sign):
    pages = ground.PAGES.read_text()
    process, name = start_another()
    assert traces(name) == {"folder", "mount", "namespace", "program"}
    process.send_signal(sign)
    process.wait(20)
    if sign == signal.SIGKILL:
        assert name in ground.clear()
    assert traces(name) == set()
    assert ground.PAGES.read_text() == pages


def test_a_living_lab_and_a_kept_one_are_not_cleared():
    process, name = start_another("keep")
    assert process.wait(20) == 0
    assert ground.clear() == []
    assert traces(name) == {"folder", "mount", "namespace", "program"}
    assert name in ground.kept()
    with ground.host_lock():
        ground.remove(name)
    assert traces(name) == set()
