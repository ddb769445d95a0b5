# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Runs test suites and counts their cases: run_suites.py [--list] SUITE...

A suite is what meson has registered under that name, plus the test_*.py in tests/SUITE (and, for
e2e, tests/lab), which pytest runs. Cases are counted one by one, from GoogleTest's XML, TAP lines
and pytest's XML. A skip that tests/skips.txt does not allow counts as a failure. The last line is
`N passed, N failed, N skipped`.
"""

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
import json
import os
from pathlib import Path
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("ROTA_BUILD", ROOT / "build")).resolve()
RESULTS = BUILD / "test-results"
SKIPS = ROOT / "tests" / "skips.txt"
PYTEST_ALSO = {"e2e": ["tests/lab"]}


@dataclass
class Case:
    name: str     # SUITE/PROGRAM/CASE
    outcome: str  # passed, failed, skipped
    reason: str = ""


def main(arguments):
    suites = [word for word in arguments if word != "--list"]
    if "--list" in arguments:
        for suite in suites:
            for name in [*meson_tests().get(suite, []), *pytest_paths(suite)]:
                print(f"{suite:<10} {name}")
        return 0

    RESULTS.mkdir(parents=True, exist_ok=True)
    allowed = read_allowed_skips(SKIPS)
    total, rows = [], []
    for suite in suites:
        start = time.monotonic()
        cases = [judged(case, allowed) for case in run_suite(suite)]
        total += cases
        rows.append((suite, cases, time.monotonic() - start))
    report(rows)
    return tell_total(total)


def run_suite(suite):
    names = meson_tests().get(suite, [])
    cases = run_meson(suite) if names else []
    paths = pytest_paths(suite)
    if paths:
        cases += run_pytest(suite, paths)
    return cases


def judged(case, allowed):
    """A skip nobody allowed is a failure."""
    if case.outcome == "skipped" and not any(fnmatchcase(case.name, p) for p in allowed):
        return Case(case.name, "failed", f"skipped, and tests/skips.txt does not allow it: "
                                         f"{case.reason}")
    return case


def read_allowed_skips(path):
    """Patterns of tests/skips.txt; each line is `PATTERN  # REASON`."""
    patterns = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, reason = line.partition("#")
        if not reason.strip():
            sys.exit(f"{path}:{number}: expected `PATTERN  # REASON`, found `{line}`")
        patterns.append(pattern.strip())
    return patterns


# ---- meson ------------------------------------------------------------------------------------

def meson_tests():
    """Suite -> names of the tests that meson has registered."""
    listing = subprocess.run(["meson", "introspect", "--tests", str(BUILD)], check=True,
                             capture_output=True, text=True).stdout
    tests = {}
    for test in json.loads(listing):
        for suite in test["suite"]:
            tests.setdefault(suite.rpartition(":")[2], []).append(test["name"])
    return tests


def run_meson(suite):
    log, junit = (BUILD / "meson-logs" / f"{suite}{end}" for end in (".json", ".junit.xml"))
    for stale in (log, junit, *BUILD.glob("*.xml")):  # a crash must not be judged by the last run
        stale.unlink(missing_ok=True)
    status = subprocess.run(
        ["meson", "test", "-C", str(BUILD), "--no-rebuild", "--print-errorlogs", "--suite", suite,
         "--logbase", suite], check=False).returncode
    if not (log.exists() and junit.exists()):
        return [Case(f"{suite}/meson", "failed", f"ended with status {status} and no results")]
    programs = [json.loads(line) for line in log.read_text().splitlines()]
    return meson_cases(suite, programs, ElementTree.parse(junit))


def meson_cases(suite, programs, junit):
    """The cases of one `meson test`, from what it says of each program and from its JUnit file."""
    cases = []
    for program in programs:
        name = program["name"].rpartition(" / ")[2]
        inner = [case_of(f"{suite}/{name}/{fixture}{case.get('name')}", case)
                 for part, fixture in parts_of(program["name"], junit)
                 for case in part.findall("testcase")]
        cases += inner or [whole_program(f"{suite}/{name}", program)]
        if inner and not ended_well(program) and all(c.outcome != "failed" for c in inner):
            cases.append(whole_program(f"{suite}/{name}", program))
    return cases


def parts_of(program, junit):
    """The JUnit suites of a program, named PROJECT.PROGRAM or PROJECT.PROGRAM.FIXTURE, each with
    "FIXTURE." or nothing."""
    for part in junit.iter("testsuite"):
        _, _, name = f"{part.get('name')}.".partition(".")
        if name.startswith(f"{program}."):
            yield part, name[len(program) + 1:]


def ended_well(program):
    return program["result"] in ("OK", "EXPECTEDFAIL", "SKIP")


def whole_program(name, program):
    """A program judged by how it ended."""
    if program["result"] == "SKIP":
        said = (program.get("stdout", "") + program.get("stderr", "")).strip()
        return Case(name, "skipped", said.splitlines()[-1] if said else "no reason given")
    if ended_well(program):
        return Case(name, "passed")
    return Case(name, "failed", f"{program['result']}, status {program['returncode']}")


def case_of(name, element):
    """A case from its JUnit element."""
    for tag, outcome in (("skipped", "skipped"), ("failure", "failed"), ("error", "failed")):
        found = element.find(tag)
        if found is not None:
            said = found.get("message") or element.findtext("system-out") or found.text or ""
            lines = said.strip().splitlines() or ["see its output"]
            return Case(name, outcome, lines[-1] if outcome == "skipped" else lines[0])
    return Case(name, "passed")


# ---- pytest -----------------------------------------------------------------------------------

def pytest_paths(suite):
    folders = [f"tests/{suite}", *PYTEST_ALSO.get(suite, [])]
    return [folder for folder in folders if any((ROOT / folder).glob("test_*.py"))]


def run_pytest(suite, paths):
    xml = RESULTS / f"{suite}.pytest.xml"
    xml.unlink(missing_ok=True)
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "--durations=5",
         f"--junitxml={xml}", *paths], cwd=ROOT, check=False).returncode
    cases = []
    if xml.exists():
        cases = [case_of(f"{suite}/{case.get('classname').rpartition('.')[2]}/{case.get('name')}",
                         case) for case in ElementTree.parse(xml).iter("testcase")]
    if status != 0 and all(case.outcome != "failed" for case in cases):
        cases.append(Case(f"{suite}/pytest", "failed", f"ended with status {status}"))
    return cases


# ---- the report -------------------------------------------------------------------------------

def report(rows):
    print()
    for suite, cases, seconds in rows:
        count = Counter(case.outcome for case in cases)
        print(f"{suite:<10}{count['passed']:>6} passed{count['failed']:>5} failed"
              f"{count['skipped']:>5} skipped{seconds:>8.1f} s" + ("" if cases else "   no tests"))
    for outcome in ("skipped", "failed"):
        for _, cases, _ in rows:
            for case in cases:
                if case.outcome == outcome:
                    print(f"{outcome}: {case.name}: {case.reason}")


def tell_total(cases):
    count = Counter(case.outcome for case in cases)
    print(f"\n{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped",
          flush=True)
    return 1 if count["failed"] or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
