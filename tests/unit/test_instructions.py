# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""What perf/instructions.py reads from a profile of callgrind."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "perf"))

import instructions  # noqa: E402  (the path comes first)

PROFILE = """\
version: 1
positions: line
events: Ir
fl=forward.cc
fn=rota::forward_burst(std::span<rota::Packet, 18446744073709551615ul>, unsigned short)
70 100
fi=packet.h
92 20
fe=forward.cc
cfi=parse.cc
cfn=rota::parse(std::span<rota::Packet, 18446744073709551615ul>)
calls=4 150
71 4000
cfn=rota::(anonymous namespace)::own(std::span<rota::Packet, 18446744073709551615ul>)
calls=4 17
72 60
fl=parse.cc
fn=rota::parse(std::span<rota::Packet, 18446744073709551615ul>)
150 1000
cfn=rota::(anonymous namespace)::parse_frame(rota::Packet&)
calls=128 99
151 3000
totals: 4180
"""


def test_a_profile_is_split_into_the_function_itself_and_what_it_calls():
    itself, stages = instructions.read_profile(PROFILE, "rota::forward_burst")
    assert itself == 120
    assert stages == {"parse": 4000, "own": 60}
    assert instructions.read_profile(PROFILE, "rota::absent") == (0, {})
