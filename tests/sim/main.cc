// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// sim: plays seed after seed, and tells what they exercised. Exit status 0: every invariant held
// (with --plant: one did not), and the runs exercised enough to mean something.
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "tests/sim/script.h"
#include "tests/sim/world.h"

namespace rota::sim {
namespace {

constexpr const char* kUsage =
    R"(sim [--seeds N] [--first N]   plays N seeds (default 1000), from N on (default 1)
sim --seed N [--trace]        plays one seed again, and says what happens in it
sim --plant BUG [...]         with that bug planted: it must be found within the seeds
)";

struct Options {
  uint64_t first = 1;
  uint64_t seeds = 1000;
  WorldOptions world;
};

std::optional<Options> parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--trace") {
      options.world.trace = true;
      continue;
    }
    if (++i == count) return std::nullopt;
    const std::string value = words[i];
    const uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (word == "--seeds") {
      options.seeds = number;
    } else if (word == "--first") {
      options.first = number;
    } else if (word == "--seed") {
      options.first = number;
      options.seeds = 1;
    } else if (word == "--plant") {
      const auto found = std::ranges::find(kPlantNames, std::string_view(value));
      if (found == kPlantNames.end()) return std::nullopt;
      options.world.plant = static_cast<Plant>(found - kPlantNames.begin());
    } else {
      return std::nullopt;
    }
  }
  return options;
}

// What each total must come to, in 100 seeds.
struct Line {
  const char* what;
  uint64_t Totals::*total;
  uint64_t least;
};
constexpr Line kLines[] = {
    {"seeds", &Totals::seeds, 100},
    {"events", &Totals::events, 100000},
    {"packets", &Totals::packets, 50000},
    {"connections opened", &Totals::connections, 5000},
    {"fail-overs", &Totals::fail_overs, 50},
    {"hand-overs", &Totals::hand_overs, 50},
    {"partitions", &Totals::partitions, 100},
    {"split brains", &Totals::split_brains, 20},
    {"restarts of programs and hosts", &Totals::restarts, 100},
    {"of these with flow memory lost", &Totals::lost_memories, 20},
    {"bursts of a flood", &Totals::floods, 500},
    {"edits", &Totals::edits, 200},
    {"flows that moved and lived", &Totals::alive_at_move, 1000},
    {"young_lost", &Totals::young_lost, 0},
    {"lost because the nodes were apart", &Totals::cut_lost, 0},
    {"lost of services without sync", &Totals::unsynced_lost, 0},
    {"lost with their backend", &Totals::backend_lost, 0},
};

void add(Totals& sum, const Totals& run) {
  for (const Line& line : kLines) sum.*line.total += run.*line.total;
}

bool tell(const Totals& totals, bool check) {
  bool enough = true;
  for (const Line& line : kLines) {
    const uint64_t least = line.least * totals.seeds / 100;
    const bool ok = totals.*line.total >= least;
    std::printf("%12llu  %s\n", static_cast<unsigned long long>(totals.*line.total), line.what);
    if (ok || !check) continue;
    enough = false;
    std::printf("              ^ expected at least %llu: the runs prove too little\n",
                static_cast<unsigned long long>(least));
  }
  return enough;
}

std::string command_of(uint64_t seed, Plant plant) {
  const std::string planted =
      plant == Plant::none ? ""
                           : " --plant " + std::string(kPlantNames[static_cast<size_t>(plant)]);
  return "sim --seed " + std::to_string(seed) + planted + " --trace";
}

// Nothing: all held.
std::optional<std::string> play(DataplaneBuffers (&buffers)[2], const WorldOptions& options,
                                Totals& totals) {
  World world(buffers, options);
  std::optional<std::string> violation;
  try {
    Script(world).play();
  } catch (const Violation& violated) {
    violation = violated.what();
  }
  world.totals.seeds = 1;
  world.totals.events = world.schedule.events();
  add(totals, world.totals);
  return violation;
}

int run(Options options) {
  static DataplaneBuffers buffers[2];
  const Plant plant = options.world.plant;
  const std::string_view name = kPlantNames[static_cast<size_t>(plant)];
  Totals totals;
  for (uint64_t i = 0; i < options.seeds; ++i) {
    options.world.seed = options.first + i;
    const auto violation = play(buffers, options.world, totals);
    if (!violation) continue;
    std::printf("seed %llu: %s\n  to see it: %s\n",
                static_cast<unsigned long long>(options.world.seed), violation->c_str(),
                command_of(options.world.seed, plant).c_str());
    if (plant == Plant::none) {
      tell(totals, false);
      return 1;
    }
    std::printf("planted %s: found in %llu seeds\n", name.data(),
                static_cast<unsigned long long>(i + 1));
    return 0;
  }
  if (plant != Plant::none) {
    std::printf("planted %s: not found in %llu seeds\n", name.data(),
                static_cast<unsigned long long>(options.seeds));
    return 1;
  }
  return tell(totals, options.seeds >= 100) ? 0 : 1;
}

}  // namespace
}  // namespace rota::sim

int main(int count, char** words) {
  const auto options = rota::sim::parse(count, words);
  if (!options) {
    std::fputs(rota::sim::kUsage, stderr);
    return 2;
  }
  return rota::sim::run(*options);
}
