# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Services over a lab's backends, in one call, and gone in one."""


def host_of(address):
    """An address as it stands before a port, or in a URL."""
    return f"[{address}]" if ":" in address else address


def add_service(lab, name, vip, port, backend_port=None, protocol="tcp", words=(), weights=None,
                backends=None, node=None):
    """A service over all backends (or those given), up and in force; returns its endpoints.

    `node` is the balancer, where the lab has several.
    """
    node = node or lab.lb
    node.rota("service", "add", name, f"{host_of(vip)}:{port}/{protocol}", *words)
    endpoints = []
    for i, backend in enumerate(backends or lab.backends):
        address = host_of(backend.ipv6 if ":" in vip else backend.ipv4)
        endpoints.append(f"{address}:{backend_port or port}")
        weight = ["--weight", str(weights[i])] if weights else []
        node.rota("backend", "add", name, endpoints[-1], *weight)
    node.wait_backends(name)
    return endpoints


def remove_services(lab):
    """All of them: a backend of `dnat` belongs to one service, so tests in one lab take turns."""
    for service in lab.lb.rota_json("service", "list")["services"]:
        lab.lb.rota("service", "del", service["name"])
    lab.lb.wait_settled()
