# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Rules of the house that no compiler checks: tidy_test.py SOURCE_ROOT BUILD_ROOT.

Prints TAP, one line a rule, and to standard error what breaks it.
"""

from concurrent.futures import ThreadPoolExecutor
import json
import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import sys

# Folder -> what its files may include of ours; the first folder that matches a file counts.
MAY_INCLUDE = {
    "dataplane/core": ["dataplane/core/", "bpf/abi.h", "bpf/rules.h", "bpf/sample.h",
                       "bpf/steer.h", "bpf/verdict.h"],
    "dataplane/host": ["dataplane/core/", "dataplane/host/", "bpf/"],
    "dataplane": ["dataplane/", "bpf/"],
    "controlplane": ["controlplane/", "dataplane/core/", "dataplane/host/", "bpf/"],
    "bpf": ["bpf/"],
}
OURS = re.compile(r"(dataplane|controlplane|bpf|tests|perf)/")
NO_DPDK = ("dataplane/core", "dataplane/host", "controlplane", "bpf")
# Each observes or acts on one part of the world, and knows none of the others.
STRANGERS = ("health", "neighbours", "peer", "firewall")
NOT_IN_CORE = re.compile(
    r"thread|mutex|shared_mutex|condition_variable|future|semaphore|chrono|ctime|time\.h|iostream|"
    r"fstream|sstream|cstdio|stdio\.h|unistd\.h|pthread\.h|sys/.*|fmt/.*|spdlog/.*|stdexcept")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
# Paths of one person's machine; what the system has (/run, /etc, /usr ...) is no such thing.
MACHINE_PATH = re.compile(r"(?<![\w./}*-])/(home|root|srv|work|workspace)/[\w.-]+")
LICENCES = {"bpf/": "GPL-2.0 OR BSD-2-Clause", "": "Apache-2.0"}

# Their includer defines the lookups they call, or is a BPF program.
NOT_ALONE = {"bpf/rule_maps.h", "bpf/steer.h", "bpf/verdict.h"}

CODE = (".h", ".cc", ".c")
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


class Tree:
    """The files that git knows or would add."""

    def __init__(self, root, build):
        self.root, self.build = Path(root), Path(build)
        listing = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True).stdout
        self.files = sorted({name for name in listing.split("\0")
                             if name and (self.root / name).is_file()})
        self.texts = {}

    def text(self, name):
        if name not in self.texts:
            self.texts[name] = (self.root / name).read_text(errors="replace")
        return self.texts[name]

    def ending(self, *ends):
        return [name for name in self.files if name.endswith(ends)]

    def code(self, *folders):
        return [name for name in self.ending(*CODE)
                if not folders or name.startswith(tuple(f"{folder}/" for folder in folders))]

    def includes(self, name):
        """(whether by quotes, path) of each include."""
        return [(quote == '"', path) for quote, path in INCLUDE.findall(self.text(name))]


# ---- rules: each yields what breaks it ----------------------------------------------------------

def includes_point_downwards(tree):
    for folder, allowed in MAY_INCLUDE.items():
        for name in tree.code(folder):
            if next(room for room in MAY_INCLUDE if name.startswith(f"{room}/")) != folder:
                continue
            for _, path in tree.includes(name):
                if OURS.match(path) and not path.startswith(tuple(allowed)):
                    yield f"{name} includes {path}; {folder} may include {', '.join(allowed)}"


def rooms_that_watch_the_world_know_none_of_the_others(tree):
    for room in STRANGERS:
        others = tuple(f"controlplane/{other}/" for other in STRANGERS if other != room)
        for name in tree.code(f"controlplane/{room}"):
            for _, path in tree.includes(name):
                if path.startswith(others):
                    yield f"{name} includes {path}"


def our_own_headers_are_included_from_the_root_of_the_repository(tree):
    for name in tree.code():
        for quoted, path in tree.includes(name):
            if quoted and "/" not in path and (tree.root / name).parent.joinpath(path).exists():
                yield f"{name} includes {path}; expected {Path(name).parent}/{path}"


def dpdk_is_used_in_the_dataplane_only(tree):
    for name in tree.code(*NO_DPDK):
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", tree.text(name), flags=re.DOTALL)
        for word in sorted(set(re.findall(r"\brte_\w+", code))):
            yield f"{name} uses {word}"


def core_uses_no_clock_thread_file_or_log(tree):
    for name in tree.code("dataplane/core"):
        for _, path in tree.includes(name):
            if NOT_IN_CORE.fullmatch(path):
                yield f"{name} includes <{path}>"


def each_file_begins_with_its_licence(tree):
    for name in tree.ending(*CODE, ".py", ".proto", ".sh") + ["dev", ".ci/run"]:
        head = "\n".join(tree.text(name).splitlines()[:4])
        licence = next(name_ for folder, name_ in LICENCES.items() if name.startswith(folder))
        if not re.search(rf"SPDX-License-Identifier: {re.escape(licence)}( \*/)?$", head, re.M):
            yield f"{name}: expected SPDX-License-Identifier: {licence} in the first lines"
        if "SPDX-FileCopyrightText: The Rota authors" not in head:
            yield f"{name}: expected SPDX-FileCopyrightText: The Rota authors in the first lines"


def headers_are_guarded(tree):
    for name in tree.ending(".h"):
        plain_c = name.startswith("bpf/")
        guard = re.sub(r"\W", "_", f"ROTA_{name}").upper()
        expected = f"#ifndef {guard}" if plain_c else "#pragma once"
        if expected not in tree.text(name):
            yield f"{name}: expected {expected}"


def nothing_is_left_to_do_in_comments(tree):
    for name in readable(tree):
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            if UNFINISHED.search(line):
                yield f"{name}:{number}: {line.strip()}"


def no_file_names_a_path_of_somebodys_machine(tree):
    for name in readable(tree):
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            found = MACHINE_PATH.search(line)
            if found and name != "tests/tidy/tidy_test.py":
                yield f"{name}:{number}: {found.group()}"


def readable(tree):
    """Files of text that people wrote: no corpora, no licence."""
    return [name for name in tree.files if "/corpus" not in name and name != "LICENSE"]


def every_path_in_the_readme_exists(tree):
    if "README.md" not in tree.files:
        yield "there is no README.md"
        return
    for words in re.findall(r"`([^`\n]+)`", tree.text("README.md")):
        path = words.removeprefix("sudo ").removeprefix("./").split(" ")[0].split(":")[0]
        top = path.split("/")[0]
        looks_like_ours = "/" in path and (tree.root / top).exists() and not top.startswith("build")
        if looks_like_ours and not any(c in path for c in "*<{") and not (tree.root / path).exists():
            yield f"README.md names {path}, which does not exist"


def every_drop_reason_is_named_by_a_test(tree):
    tests = "\n".join(tree.text(name) for name in tree.code("tests"))
    for reason in re.findall(r"\{Drop::(\w+),", tree.text("dataplane/core/drop.h")):
        if reason != "none" and not re.search(rf"\bDrop::{reason}\b", tests):
            yield f"Drop::{reason} is in no file of tests/"


def every_refusal_of_a_snapshot_is_named_by_a_test(tree):
    code, tests = tree.text("dataplane/core/snapshot.cc"), tree.text("tests/unit/snapshot_test.cc")
    for what in re.findall(r'\b(?:refuse|check_\w+(?:<\w+>)?)\([^;"]*"([^"]+)"', code):
        if f'"{what}"' not in tests:
            yield f'"{what}" is not in tests/unit/snapshot_test.cc'


def the_format_is_that_of_clang_format(tree):
    tool = shutil.which("clang-format")
    if not tool:
        raise Skip("clang-format is not installed")
    said = subprocess.run([tool, "--dry-run", "-Werror", *tree.code()], cwd=tree.root,
                          check=False, capture_output=True, text=True).stderr
    yield from sorted({line.split(":")[0] for line in said.splitlines() if ": error: " in line})


def every_header_compiles_alone(tree):
    """With the flags of a source file of its folder, so with no more include paths than that."""
    commands = compile_commands(tree)
    jobs = [(name, flags_for(name, commands)) for name in tree.ending(".h")
            if name not in NOT_ALONE]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(lambda job: compile_alone(tree, *job), jobs))


# ---- compiling headers --------------------------------------------------------------------------

def compile_commands(tree):
    """Folder -> the flags of one C++ file in it, without input and output."""
    entries = json.loads((tree.build / "compile_commands.json").read_text())
    commands = {}
    for entry in entries:
        source = Path(os.path.normpath(Path(entry["directory"]) / entry["file"]))
        if source.suffix == ".cc" and source.is_relative_to(tree.root):
            folder = str(source.relative_to(tree.root).parent)
            commands.setdefault(folder, without_files(shlex.split(entry["command"])))
    return commands


def without_files(words):
    out, skip = [], False
    for word in words:
        if skip or word in ("-c", "-MD", "-MMD"):
            skip = False
        elif word in ("-o", "-MF", "-MQ", "-MT"):
            skip = True
        else:
            out.append(word)
    return out[:-1]  # the last one is the input


def flags_for(name, commands):
    """Of the header's folder, else of the nearest one above or below; bpf is read by all."""
    folder = Path(name).parent
    for above in (folder, *folder.parents[:-1]):
        near = [f for f in commands if f == str(above) or f.startswith(f"{above}/")]
        if near:
            return commands[sorted(near, key=len)[0]]
    return commands.get("dataplane/host")


def compile_alone(tree, name, command):
    # Through a file that includes it, or #pragma once would be warned of.
    result = subprocess.run(
        [*command, "-fdiagnostics-color=never", "-fsyntax-only", "-x", "c++", "-"], input=f'#include "{name}"\n',
        cwd=tree.build, check=False, capture_output=True, text=True)
    if result.returncode == 0:
        return None
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    return f"{name}: {(errors or result.stderr.splitlines() or ['?'])[0]}"


# ---- running ------------------------------------------------------------------------------------

class Skip(Exception):
    """A rule that cannot be checked here, and why."""


RULES = [
    includes_point_downwards,
    rooms_that_watch_the_world_know_none_of_the_others,
    our_own_headers_are_included_from_the_root_of_the_repository,
    dpdk_is_used_in_the_dataplane_only,
    core_uses_no_clock_thread_file_or_log,
    each_file_begins_with_its_licence,
    headers_are_guarded,
    nothing_is_left_to_do_in_comments,
    no_file_names_a_path_of_somebodys_machine,
    every_path_in_the_readme_exists,
    every_drop_reason_is_named_by_a_test,
    every_refusal_of_a_snapshot_is_named_by_a_test,
    the_format_is_that_of_clang_format,
    every_header_compiles_alone,
]


def main():
    tree = Tree(sys.argv[1], sys.argv[2])
    print(f"1..{len(RULES)}")
    for number, rule in enumerate(RULES, 1):
        name = rule.__name__.replace("_", " ")
        try:
            broken = list(rule(tree))
        except Skip as reason:
            print(f"ok {number} {name} # SKIP {reason}", flush=True)
            continue
        print(f"{'not ok' if broken else 'ok'} {number} {name}", flush=True)
        if broken:
            print(f"{name}: broken by", file=sys.stderr)
        for line in broken:
            print(f"    {line}", file=sys.stderr)


main()
