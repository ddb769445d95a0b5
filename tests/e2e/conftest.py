# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Fixtures of the end-to-end tests; see tests/lab for what a lab can do.

    def test_something(web):            a module's lab, Rota started, nginx on three backends
    def test_other(make_lab):           lab = make_lab(backends=2, queues=2); lab.start(...)

When a test fails, the ends of the programs' logs are part of its report.
"""

from pathlib import Path
import sys

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab, ground  # noqa: E402  (the path comes first)

LAST_CHARACTERS = 3000


@pytest.fixture(scope="session", autouse=True)
def tidy_machine():
    """What a killed run left behind goes first."""
    ground.clear()


class LabMaker:
    """make_lab(**options) is Lab(**options), closed with the test."""

    def __init__(self):
        self.labs = []

    def __call__(self, **options):
        self.labs.append(Lab(**options))
        return self.labs[-1]

    def close(self):
        for lab in reversed(self.labs):
            lab.close()


@pytest.fixture
def make_lab():
    maker = LabMaker()
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def web():
    """A lab with Rota started, shared by the tests of a module. Services are theirs to add."""
    with Lab(clients=4) as lab:
        lab.start()
        yield lab


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    if not report.failed:
        return
    for lab in _labs_of(item):
        for name, text in lab.logs().items():
            if text.strip():
                report.sections.append((f"{lab.name}: {name}", text[-LAST_CHARACTERS:]))


def _labs_of(item):
    labs = []
    for value in getattr(item, "funcargs", {}).values():
        labs += value.labs if isinstance(value, LabMaker) else [value]
    return [lab for lab in labs if isinstance(lab, Lab) and lab.ground is not None]
