# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
