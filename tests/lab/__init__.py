# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A small network on one machine: clients, a balancer and backends, each in its own namespace.

`Lab` is the door; the demos and the end-to-end tests stand on it. All of it needs root.
"""

from lab.lab import Lab
from lab.process import LabError, Program, run, wait_until

__all__ = ["Lab", "LabError", "Program", "run", "wait_until"]
