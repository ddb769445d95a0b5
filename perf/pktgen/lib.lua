-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Rota authors
--
-- What the scripts beside this file share: their settings, the traffic, one trial, the search for
-- the highest rate, and how results are shown and kept. For Pktgen-DPDK 23.06.1.
--
-- Rates are percents of the transmitting port's link speed, frame sizes bytes with the checksum
-- (FCS), durations seconds. Packets are IPv4.

local lib = {}

os.setlocale("C") -- or 0.1 is no number where the decimal point is a comma

-- Pktgen builds its packets when a port starts; at the rate of a trial it would then send at once
-- all that it had missed meanwhile. So it starts with so many packets a second.
local IDLE_PPS = 5000
-- Below this part of what it was asked for, the generator did not keep up.
local KEPT_UP = 0.98
local WIRE_OVERHEAD = 20 -- bytes of preamble and gap between frames

-- --- Settings ---

-- All scripts know these. Each may add its own, or set other defaults.
local COMMON = {
  tx = 0,                 -- Pktgen's port towards Rota's outside
  rx = 1,                 -- and towards its backends' side
  mac = "",               -- of Rota's outside port
  vip = "203.0.113.10",
  port = 1028,            -- of the service; Pktgen's latency probes go to no other
  clients = "198.18.0.1", -- the first client's address; each flow has its own
  client_port = 1234,
  trial_s = 10,
  confirm_s = 60,         -- of the trial that confirms a result
  settle_s = 2,           -- after a trial, for what is still under way
  open_rate = 1,          -- to open the flows before the first trial
  resolution = 0.5,       -- of a search
  ndr = 0,                -- percent of packets that may be lost
  pdr = 0.1,
  out = "pktgen.jsonl",   -- results are added, one object a line
}

local function number(word, name)
  return tonumber(word) or error(name .. ": expected a number, got '" .. word .. "'", 0)
end

local function list_of(word, name)
  local list = {}
  for each in word:gmatch("[^,]+") do list[#list + 1] = number(each, name) end
  return list
end

local function names_of(settings)
  local names = {}
  for name in pairs(settings) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- The settings of a script: COMMON, its `own`, and what $ROTA_PKTGEN says: "name=value ...", lists
-- with commas. A value has the type of the default.
function lib.settings(own)
  local settings = {}
  for _, defaults in ipairs({ COMMON, own }) do
    for name, value in pairs(defaults) do settings[name] = value end
  end
  for word in (os.getenv("ROTA_PKTGEN") or ""):gmatch("%S+") do
    local name, value = word:match("^([%w_]+)=(.+)$")
    if settings[name] == nil then
      error("ROTA_PKTGEN: '" .. word .. "' is no NAME=VALUE; names are " ..
            table.concat(names_of(settings), " "), 0)
    end
    local kind = type(settings[name])
    settings[name] = kind == "number" and number(value, name) or
                     kind == "table" and list_of(value, name) or value
  end
  if not settings.mac:match("^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$") then
    error("ROTA_PKTGEN: expected mac=MAC, the address of Rota's outside port", 0)
  end
  return settings
end

-- --- Waiting and time ---

-- Seconds since the machine started, to a hundredth: os.time() knows only whole ones.
local function uptime()
  local file = assert(io.open("/proc/uptime"))
  local seconds = file:read("n")
  file:close()
  return seconds
end

local function wait_for(what, limit_s, condition)
  local finish = uptime() + limit_s
  while not condition() do
    if uptime() > finish then error("waited " .. limit_s .. " s in vain for: " .. what, 0) end
    pktgen.delay(50)
  end
end

-- --- Traffic ---

local function next_address(first, by)
  local a, b, c, d = first:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a == nil then error("clients: expected an IPv4 address, got '" .. first .. "'", 0) end
  local value = (a << 24 | b << 16 | c << 8 | d) + by
  return string.format("%d.%d.%d.%d", value >> 24, value >> 16 & 255, value >> 8 & 255,
                       value & 255)
end

local function set_range(port, field, start, inc, min, max)
  field(port, "start", start)
  field(port, "inc", inc)
  field(port, "min", min)
  field(port, "max", max)
end

local function set_range_packet(settings, flows, frame)
  local range, tx, first = pktgen.range, settings.tx, settings.clients
  range.set_type(tx, "ipv4")
  range.ip_proto(tx, "udp")
  range.dst_mac(tx, "start", settings.mac)
  set_range(tx, range.src_ip, first, flows > 1 and "0.0.0.1" or "0.0.0.0", first,
            next_address(first, flows - 1))
  set_range(tx, range.dst_ip, settings.vip, "0.0.0.0", settings.vip, settings.vip)
  set_range(tx, range.src_port, settings.client_port, 0, settings.client_port,
            settings.client_port)
  set_range(tx, range.dst_port, settings.port, 0, settings.port, settings.port)
  set_range(tx, range.pkt_size, frame, 0, frame, frame)
end

-- Also what latency probes are made from, and what the rate is reckoned by.
local function set_single_packet(settings, frame)
  local tx = settings.tx
  pktgen.set_mac(tx, "dst", settings.mac)
  pktgen.set_ipaddr(tx, "dst", settings.vip)
  pktgen.set_ipaddr(tx, "src", settings.clients .. "/32")
  pktgen.set_proto(tx, "udp")
  pktgen.set(tx, "sport", settings.client_port)
  pktgen.set(tx, "dport", settings.port)
  pktgen.set(tx, "size", frame)
  pktgen.set(tx, "count", 0) -- until it is stopped
end

-- UDP packets of `flows` clients in turn. Pktgen writes the packets of ranges once, into a pool, and
-- sends those again and again: it holds no more flows than packets. Returns the traffic, for trials.
function lib.ranges(settings, flows, frame)
  local most = pktgen.info.maxMbufsPerPort
  if flows > most then
    error(string.format("%d flows: ranges hold at most %d; take capture.lua", flows, most), 0)
  end
  set_single_packet(settings, frame)
  set_range_packet(settings, flows, frame)
  pktgen.set_range(settings.tx, "on")
  return { source = "ranges", flows = flows, frame_bytes = frame, lap = most }
end

-- The capture that Pktgen was given (-s TX:FILE), and `path` names again: frames of one length, one
-- of each flow. Returns the traffic.
function lib.capture(settings, path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:seek("set", 24 + 8)
  local bytes = string.unpack("<I4", file:read(4))
  file:close()
  local flows = (size - 24) // (16 + bytes)
  set_single_packet(settings, bytes + 4)
  pktgen.set_range(settings.tx, "off")
  pktgen.pcap(settings.tx, "on")
  return { source = path, flows = flows, frame_bytes = bytes + 4, lap = flows }
end

-- --- One trial ---

local function link_mbits(port)
  local state = pktgen.linkState(port)[port]
  return tonumber(state:match("^<UP%-(%d+)")) or error("port " .. port .. " is " .. state, 0)
end

local function asked_pps(settings, traffic, rate)
  local bits = (traffic.frame_bytes + WIRE_OVERHEAD) * 8
  return link_mbits(settings.tx) * 1e6 / bits * rate / 100
end

-- Frames sent, known once a second; and IPv4 packets received, known at once.
local function sent(settings) return pktgen.portStats(settings.tx, "port")[settings.tx].opackets end
local function received(settings) return pktgen.pktStats(settings.rx)[settings.rx].ip_pkts end

-- Frames that reached the receiving port, and were lost there.
local function missed(settings)
  local stats = pktgen.portStats(settings.rx, "port")[settings.rx]
  return stats.imissed + stats.rx_nombuf + stats.ierrors
end

local LOOK_S = 0.05
local ONE_PACKET = 1 / LOOK_S -- a second

-- Sets the rate until `least_pps` are seen at the receiving port. Now and then Pktgen takes the link
-- for down just when it reckons the rate, and pauses for a minute. Returns when it was set.
local function set_rate(settings, rate, least_pps)
  local from
  wait_for("packets at port " .. settings.rx, 10, function()
    from = uptime()
    local before = received(settings)
    pktgen.set(settings.tx, "rate", rate)
    pktgen.delay(math.ceil(LOOK_S * 1000))
    return received(settings) - before >= least_pps * LOOK_S
  end)
  return from
end

-- Starts sending. Returns when the rate was reached.
function lib.start(settings, traffic, rate)
  local pps = asked_pps(settings, traffic, rate)
  local idle = math.min(rate, rate * IDLE_PPS / pps)
  pktgen.clr()
  pktgen.set(settings.tx, "rate", idle)
  pktgen.start(settings.tx)
  set_rate(settings, idle, ONE_PACKET)
  return set_rate(settings, rate, pps > 4 * IDLE_PPS and 2 * IDLE_PPS or ONE_PACKET)
end

local function wait_until_quiet(settings)
  local finish, before = uptime() + settings.settle_s, nil
  wait_for("all packets counted", settings.settle_s + 20, function()
    local now = sent(settings) .. "/" .. received(settings)
    local quiet = now == before and uptime() > finish
    before = now
    if not quiet then pktgen.delay(1200) end
    return quiet
  end)
end

-- Stops what began at `from`, waits until all is counted. Returns what was measured.
function lib.stop(settings, traffic, rate, from)
  pktgen.stop(settings.tx)
  local seconds = uptime() - from
  wait_until_quiet(settings)
  local tx, rx = sent(settings), received(settings)
  if tx == 0 then error("port " .. settings.tx .. " sent nothing", 0) end
  local asked = asked_pps(settings, traffic, rate)
  return {
    rate_percent = rate,
    seconds = seconds,
    tx = tx,
    rx = rx,
    lost = math.max(0, tx - rx),
    loss_percent = math.max(0, tx - rx) / tx * 100,
    stray = math.max(0, rx - tx), -- somebody else sends to the receiving port
    missed_by_receiver = missed(settings),
    asked_mpps = asked / 1e6,
    tx_mpps = tx / seconds / 1e6,
    rx_mpps = math.min(tx, rx) / seconds / 1e6,
    kept_up = tx / seconds >= KEPT_UP * asked,
  }
end

function lib.trial(settings, traffic, rate, seconds)
  local from = lib.start(settings, traffic, rate)
  pktgen.delay(math.ceil(seconds * 1000))
  local trial = lib.stop(settings, traffic, rate, from)
  lib.say("%d B, %d flows, %6.2f %%: asked %.3f, sent %.3f, received %.3f Mpps, lost %d (%.4f %%)",
          traffic.frame_bytes, traffic.flows, rate, trial.asked_mpps, trial.tx_mpps,
          trial.rx_mpps, trial.lost, trial.loss_percent)
  return trial
end

-- Three packets of each flow: it is opened, it is proven, it is known.
function lib.open_flows(settings, traffic)
  local left, rate = 3 * math.max(traffic.flows, traffic.lap), settings.open_rate
  lib.say("opening %d flows", traffic.flows)
  while left > 0 do
    local seconds = math.max(1, left / asked_pps(settings, traffic, rate))
    left = left - lib.trial(settings, traffic, rate, seconds).tx
  end
end

-- --- The search ---

-- The trials between which the answer lies: the lowest that lost more than `goal` percent, and the
-- highest below it that did not; each nil if there is none.
local function bounds(trials, goal)
  local low, high
  local function passes(trial) return trial.loss_percent <= goal end
  for _, trial in ipairs(trials) do
    if not passes(trial) and (not high or trial.rate_percent < high.rate_percent) then
      high = trial
    end
  end
  for _, trial in ipairs(trials) do
    if passes(trial) and (not high or trial.rate_percent < high.rate_percent) and
       (not low or trial.rate_percent > low.rate_percent or
        trial.rate_percent == low.rate_percent and trial.seconds > low.seconds) then
      low = trial
    end
  end
  return low, high
end

-- What kept the rate from being higher.
local function limit(low, high)
  if low and not low.kept_up then return "generator" end
  return high and "loss" or "line"
end

-- The highest rate at which no more than `goal` percent are lost, confirmed by a long trial (RFC
-- 2544, 26.1). Adds its trials to `trials`, and starts from those there are. Returns the confirmed
-- trial, nil if every rate failed, and what kept it from being higher.
local function search(settings, traffic, trials, goal)
  local function try(rate, seconds)
    trials[#trials + 1] = lib.trial(settings, traffic, rate, seconds)
  end
  if #trials == 0 then try(100, settings.trial_s) end
  while true do
    local low, high = bounds(trials, goal)
    local from, to = low and low.rate_percent or 0, high and high.rate_percent or 100
    if high and to - from > settings.resolution then
      try((from + to) / 2, settings.trial_s)
    elseif low and low.seconds < settings.confirm_s then
      try(from, settings.confirm_s)
    else
      return low, limit(low, high)
    end
  end
end

local function found(traffic, name, goal, trial, limited_by, trials)
  local result = {
    goal = name, goal_loss_percent = goal, source = traffic.source, flows = traffic.flows,
    frame_bytes = traffic.frame_bytes, limited_by = limited_by, trials = trials,
  }
  for key, value in pairs(trial or { rate_percent = 0, rx_mpps = 0 }) do result[key] = value end
  result.wire_gbps = result.rx_mpps * (traffic.frame_bytes + WIRE_OVERHEAD) * 8 / 1000
  return result
end

-- NDR and PDR of this traffic: two results.
function lib.throughput(settings, traffic)
  local trials, results = {}, {}
  for _, goal in ipairs({ "pdr", "ndr" }) do
    local trial, limited_by = search(settings, traffic, trials, settings[goal])
    results[#results + 1] = found(traffic, goal:upper(), settings[goal], trial, limited_by, #trials)
  end
  return results
end

lib.THROUGHPUT = {
  { "frame", "frame_bytes", "%d" }, { "flows", "flows", "%d" }, { "goal", "goal", "%s" },
  { "rate %", "rate_percent", "%.2f" }, { "Mpps", "rx_mpps", "%.3f" },
  { "Gbit/s", "wire_gbps", "%.2f" }, { "lost %", "loss_percent", "%.4f" },
  { "missed", "missed_by_receiver", "%d" }, { "limited by", "limited_by", "%s" },
}

-- --- Results ---

function lib.say(...)
  io.write(string.format(...), "\n")
  io.flush()
end

-- Columns: { head, key, format }.
function lib.show(columns, results)
  local function line(cell)
    local words = {}
    for _, column in ipairs(columns) do
      words[#words + 1] = string.format("%12s", cell(column))
    end
    lib.say("%s", table.concat(words))
  end
  line(function(column) return column[1] end)
  for _, result in ipairs(results) do
    line(function(column)
      local value = result[column[2]]
      return value == nil and "-" or string.format(column[3], value)
    end)
  end
end

-- Numbers, strings, booleans and flat tables of them.
local function json(value)
  if type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', function(c)
      return string.format("\\u%04x", c:byte())
    end) .. '"'
  end
  if type(value) ~= "table" then
    return math.type(value) == "float" and string.format("%.6g", value) or tostring(value)
  end
  local words = {}
  if #value > 0 then
    for _, each in ipairs(value) do words[#words + 1] = json(each) end
    return "[" .. table.concat(words, ",") .. "]"
  end
  for _, name in ipairs(names_of(value)) do
    words[#words + 1] = json(name) .. ":" .. json(value[name])
  end
  return "{" .. table.concat(words, ",") .. "}"
end

-- Adds results to the file of the settings, each with what one needs to repeat it.
function lib.keep(settings, script, results)
  local file = assert(io.open(settings.out, "a"))
  for _, result in ipairs(results) do
    result.script = script
    result.date = os.date("!%Y-%m-%dT%H:%M:%SZ")
    result.settings = os.getenv("ROTA_PKTGEN")
    result.link_mbits = link_mbits(settings.tx)
    result.generator = pktgen.info.Pktgen_Version .. ", " .. pktgen.info.DPDK_Version
    file:write(json(result), "\n")
  end
  file:close()
end

-- Runs a script and ends Pktgen.
function lib.main(script)
  pktgen.screen("off")
  local good, problem = pcall(script)
  if not good then
    lib.say("pktgen script: %s", problem)
    pktgen.stop("all")
  end
  pktgen.quit()
end

return lib
