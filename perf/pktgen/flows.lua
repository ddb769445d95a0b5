-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Rota authors
--
-- Throughput over the number of established UDP flows, one frame size: NDR and PDR. Ranges hold
-- some 24 thousand flows; for more there is capture.lua.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local lib = dofile(here .. "lib.lua")

lib.main(function()
  local settings = lib.settings({ flows = { 1000, 8000, 24000 }, frame = 64 })
  local all = {}
  for _, flows in ipairs(settings.flows) do
    local traffic = lib.ranges(settings, flows, settings.frame)
    lib.open_flows(settings, traffic)
    local results = lib.throughput(settings, traffic)
    lib.keep(settings, "flows", results)
    table.move(results, 1, #results, #all + 1, all)
  end
  lib.show(lib.THROUGHPUT, all)
end)
