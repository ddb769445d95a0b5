-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Rota authors
--
-- Latency of probes that Pktgen sends among the load: percentiles, at parts of `rate`, which is the
-- NDR or PDR found before. What is measured, and what is not: README.md.
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local lib = dofile(here .. "lib.lua")

local MOST_SAMPLES = 50000 -- Pktgen keeps no more
local EVERY_PROBE = 10000000 -- samples a second, more than there are probes

local function read_samples(path)
  local file, samples = assert(io.open(path)), {}
  file:read("l") -- a heading
  for line in file:lines() do samples[#samples + 1] = tonumber(line) end
  file:close()
  os.remove(path)
  table.sort(samples)
  return samples
end

-- Nearest rank.
local function percentile(sorted, percent)
  return sorted[math.max(1, math.ceil(#sorted * percent / 100))] / 1000
end

local function measure(settings, traffic, load)
  local rate, path = settings.rate * load / 100, os.tmpname()
  local from = lib.start(settings, traffic, rate)
  pktgen.latsampler_params(settings.rx, "simple", MOST_SAMPLES, EVERY_PROBE, path)
  pktgen.latsampler(settings.rx, "on")
  pktgen.delay(math.ceil(settings.trial_s * 1000))
  pktgen.latsampler(settings.rx, "off")
  local result = lib.stop(settings, traffic, rate, from)
  local samples = read_samples(path)
  if #samples == 0 then
    error("no probe came back: does the service take UDP port 1028?", 0)
  end
  result.load_percent, result.samples = load, #samples
  result.flows, result.frame_bytes = traffic.flows, traffic.frame_bytes
  for _, percent in ipairs({ 50, 90, 99, 99.9 }) do
    result["p" .. percent .. "_us"] = percentile(samples, percent)
  end
  result.min_us, result.max_us = samples[1] / 1000, samples[#samples] / 1000
  return result
end

local COLUMNS = {
  { "load %", "load_percent", "%d" }, { "Mpps", "rx_mpps", "%.3f" },
  { "lost %", "loss_percent", "%.4f" }, { "probes", "samples", "%d" },
  { "min us", "min_us", "%.1f" }, { "p50", "p50_us", "%.1f" }, { "p90", "p90_us", "%.1f" },
  { "p99", "p99_us", "%.1f" }, { "p99.9", "p99.9_us", "%.1f" }, { "max", "max_us", "%.1f" },
}

lib.main(function()
  local settings = lib.settings({
    frame = 64,
    flows = 1000,
    rate = 0,               -- percent of link speed: what is called a load of 100
    loads = { 10, 50, 90 }, -- percent of that
    probe_us = 1000,        -- one probe each
    trial_s = 30,
  })
  if settings.rate == 0 then error("ROTA_PKTGEN: expected rate=PERCENT, an NDR or PDR", 0) end
  local traffic = lib.ranges(settings, settings.flows, settings.frame)
  lib.open_flows(settings, traffic)
  pktgen.latency(settings.tx, "rate", settings.probe_us)
  pktgen.latency(settings.tx, "enable")
  pktgen.latency(settings.rx, "enable")
  local all = {}
  for _, load in ipairs(settings.loads) do
    all[#all + 1] = measure(settings, traffic, load)
  end
  lib.keep(settings, "latency", all)
  lib.show(COLUMNS, all)
end)
