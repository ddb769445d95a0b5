-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Rota authors
--
-- RFC 2544 throughput of established UDP flows, for each frame size: NDR and PDR.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local lib = dofile(here .. "lib.lua")

lib.main(function()
  local settings = lib.settings({
    frames = { 64, 128, 256, 512, 1024, 1280, 1518 },
    flows = 1000,
  })
  local all = {}
  for _, frame in ipairs(settings.frames) do
    local traffic = lib.ranges(settings, settings.flows, frame)
    lib.open_flows(settings, traffic)
    local results = lib.throughput(settings, traffic)
    lib.keep(settings, "rfc2544", results)
    table.move(results, 1, #results, #all + 1, all)
  end
  lib.show(lib.THROUGHPUT, all)
end)
