# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""python3 -m lab clear [--kept]: removes labs whose owner is gone; --kept: also those kept."""

import sys

from lab import ground

if sys.argv[1:] not in (["clear"], ["clear", "--kept"]):
    sys.exit(__doc__)
for name in ground.clear(kept="--kept" in sys.argv):
    print(f"removed the lab {name}")
