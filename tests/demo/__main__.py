# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""python3 -m demo [NAME] [--list] [--keep] [OPTIONS of the demo]; ./dev demo builds first, then
calls this."""

import argparse
import ast
import importlib
from pathlib import Path
import sys

from demo.stage import Stage
from lab import LabError

HERE = Path(__file__).parent
NOT_DEMOS = {"__init__", "__main__", "stage"}


def demos():
    """Name -> first line of the module's docstring."""
    paths = [path for path in sorted(HERE.glob("*.py")) if path.stem not in NOT_DEMOS]
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
            for path in paths}


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description="Shows Rota at work.")
    parser.add_argument("name", nargs="?", default="basic", choices=demos(), metavar="NAME",
                        help="which one: " + ", ".join(demos()) + " (default: basic)")
    parser.add_argument("--list", action="store_true", help="print the demos there are")
    parser.add_argument("--keep", action="store_true",
                        help="leave the network and the programs up, and say how to look around")
    arguments, words = parser.parse_known_args()
    if arguments.list:
        for name, line in demos().items():
            print(f"{name:<10} {line}")
        return 0

    demo = importlib.import_module(f"demo.{arguments.name}")
    own = argparse.ArgumentParser(prog=f"./dev demo {arguments.name}", description=demo.__doc__)
    if hasattr(demo, "add_options"):
        demo.add_options(own)
    options = own.parse_args(words)

    stage = Stage(arguments.name)
    try:
        demo.run(stage, options, keep=arguments.keep)
    except LabError as error:
        print(f"\nThe demo could not go on: {error}", flush=True)
        stage.failures.append("the demo ran to its end")
    return stage.finish()


try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit("interrupted; everything was taken down")
