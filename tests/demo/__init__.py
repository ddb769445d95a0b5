# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""Demos: one module each, its first docstring line says what it shows.

A demo has `run(stage)`. It tells what it does through the stage, and checks through it what it
claims; the figures it notes there become the JSON object on the last line.
"""
