-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Rota authors
--
-- Throughput of a capture that capture.py wrote, one packet a flow: as many flows as memory holds,
-- or SYNs, which all open flows. Pktgen must be given the same file: -s TX:FILE.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local lib = dofile(here .. "lib.lua")

lib.main(function()
  local settings = lib.settings({ capture = "", open = "yes" })
  local traffic = lib.capture(settings, settings.capture)
  if settings.open == "yes" then lib.open_flows(settings, traffic) end
  local results = lib.throughput(settings, traffic)
  lib.keep(settings, "capture", results)
  lib.show(lib.THROUGHPUT, results)
end)
