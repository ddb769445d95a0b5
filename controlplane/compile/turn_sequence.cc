// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/turn_sequence.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <functional>
#include <numeric>
#include <queue>

namespace rota {
namespace {

using Weights = std::vector<uint32_t>;

uint64_t sum_of(std::span<const uint32_t> weights) {
  return std::accumulate(weights.begin(), weights.end(), uint64_t{0});
}

int64_t divide_down(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

void reduce(Weights& weights) {
  uint32_t divisor = 0;
  for (uint32_t weight : weights) divisor = std::gcd(divisor, weight);
  for (uint32_t& weight : weights) weight /= divisor;
}

// Scales weights to the sum kSequenceLengthMax: those whose part would be less than one turn get
// one, the others share what is left by largest remainder (ties: the lower index).
void scale_down(Weights& weights) {
  std::vector<uint32_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](uint32_t i) { return weights[i]; });

  uint64_t turns = kSequenceLengthMax;
  uint64_t total = sum_of(weights);
  auto rest = order.begin();
  for (; rest != order.end() && weights[*rest] * turns < total; ++rest) {
    total -= weights[*rest];
    weights[*rest] = 1;
    --turns;
  }

  std::vector<uint64_t> remainder(weights.size());
  uint64_t left = turns;
  for (auto i = rest; i != order.end(); ++i) {
    const uint64_t scaled = weights[*i] * turns;
    remainder[*i] = scaled % total;
    weights[*i] = static_cast<uint32_t>(scaled / total);
    left -= weights[*i];
  }
  std::sort(rest, order.end(), [&](uint32_t a, uint32_t b) {
    return remainder[a] != remainder[b] ? remainder[a] > remainder[b] : a < b;
  });
  for (; left > 0; --left) ++weights[*rest++];
}

// Splits `amount` in proportion to the weights: each part is less than one unit off, and their
// sum is exact.
std::vector<int64_t> split(int64_t amount, std::span<const uint32_t> weights) {
  const auto total = static_cast<int64_t>(sum_of(weights));
  std::vector<int64_t> parts;
  parts.reserve(weights.size());
  int64_t cumulated = 0;
  int64_t given = 0;
  for (uint32_t weight : weights) {
    cumulated += weight;
    const int64_t next = divide_down(amount * cumulated, total);
    parts.push_back(next - given);
    given = next;
  }
  return parts;
}

// What the lags sum up to (a removed backend left it) is shared by all. The first cut keeps one
// absurd lag from moving the others, the second keeps the ranks in range.
std::vector<int32_t> settle(std::span<const TurnBackend> backends,
                            std::span<const uint32_t> weights) {
  const auto cut = [](int64_t lag) {
    return static_cast<int32_t>(std::clamp<int64_t>(lag, -kLagMax, kLagMax));
  };
  int64_t sum = 0;
  for (const TurnBackend& backend : backends) sum += cut(backend.lag);
  const std::vector<int64_t> surplus = split(sum, weights);
  std::vector<int32_t> lags;
  lags.reserve(backends.size());
  for (size_t i = 0; i < backends.size(); ++i) {
    lags.push_back(cut(cut(backends[i].lag) - surplus[i]));
  }
  return lags;
}

// Values at numbered places; finds the least one below a given place.
class LeastTree {
 public:
  static constexpr uint64_t kNone = UINT64_MAX;

  explicit LeastTree(size_t places) : places_(places), nodes_(2 * places, kNone) {}

  void set(size_t place, uint64_t value) {
    size_t node = place + places_;
    nodes_[node] = value;
    for (node /= 2; node >= 1; node /= 2) {
      nodes_[node] = std::min(nodes_[2 * node], nodes_[2 * node + 1]);
    }
  }

  uint64_t least_below(size_t limit) const {
    uint64_t least = kNone;
    size_t from = places_;
    size_t to = places_ + limit;
    for (; from < to; from /= 2, to /= 2) {
      if (from & 1) least = std::min(least, nodes_[from++]);
      if (to & 1) least = std::min(least, nodes_[--to]);
    }
    return least;
  }

 private:
  size_t places_;
  std::vector<uint64_t> nodes_;
};

// The slack of each time d = 1..length: how many turns before d may still be given to jobs whose
// deadline is later than d. Kept as differences (slack(d) is the sum of steps from d on), so that
// taking from all times before a deadline changes one leaf.
class SlackTree {
 public:
  // `due[d]` is the number of jobs with a deadline of at most d; due[0] = 0.
  explicit SlackTree(std::span<const uint32_t> due)
      : leaves_(std::bit_ceil(due.size() - 1)), nodes_(2 * leaves_) {
    const size_t length = due.size() - 1;
    for (size_t d = 1; d <= length; ++d) {
      const int32_t next_due = d < length ? static_cast<int32_t>(due[d + 1] - due[d]) : 1;
      const int32_t step = next_due - 1;
      leaf(d) = {step, step};
    }
    for (size_t d = length + 1; d <= leaves_; ++d) leaf(d) = {0, kPast};
    for (size_t node = leaves_ - 1; node >= 1; --node) join(node);
  }

  void take_before(size_t deadline) {
    if (deadline < 2) return;
    Node& node = leaf(deadline - 1);
    --node.sum;
    if (node.low < kPast / 2) --node.low;
    update(deadline - 1);
  }

  void retire(size_t d) {
    leaf(d).low = kPast;
    update(d);
  }

  // The first time that is not retired and has no slack left. The last time never has any.
  size_t first_without() const {
    size_t node = 1;
    int32_t later = 0;
    while (node < leaves_) {
      const int32_t right = nodes_[2 * node + 1].sum;
      const bool in_left = nodes_[2 * node].low + right + later <= 0;
      if (in_left) later += right;
      node = 2 * node + (in_left ? 0 : 1);
    }
    return node - leaves_ + 1;
  }

 private:
  static constexpr int32_t kPast = 1 << 29;

  struct Node {
    int32_t sum;
    int32_t low;  // least sum of steps from a time of this node to the node's end
  };

  Node& leaf(size_t d) { return nodes_[leaves_ + d - 1]; }

  void join(size_t node) {
    const Node& left = nodes_[2 * node];
    const Node& right = nodes_[2 * node + 1];
    nodes_[node] = {left.sum + right.sum, std::min(right.low, left.low + right.sum)};
  }

  void update(size_t d) {
    for (size_t node = (leaves_ + d - 1) / 2; node >= 1; node /= 2) join(node);
  }

  size_t leaves_;
  std::vector<Node> nodes_;
};

// A backend's j-th turn of the cycle is a job of one slot, with a window of slots
// [floor((j-1)L/w), ceil(jL/w)): P-fairness says exactly that each job runs inside its window.
// A complete schedule exists for what remains after slot t iff every time d > t has had at most
// d - due(d) jobs before their time, that is, with a deadline later than d (Hall's condition; jobs
// not yet released need no check, because the fluid schedule serves them inside their windows).
// So a released job may run iff its deadline is not later than the first time without slack.
//
// Among those that may run, the carried lag chooses: it moves each backend's windows, and the
// earliest moved deadline wins among the jobs whose moved window has begun, or, if there are
// none, among all.
class Planner {
 public:
  Planner(std::span<const uint32_t> weights, std::span<const int32_t> lags)
      : weights_(weights),
        lags_(lags),
        length_(static_cast<int64_t>(sum_of(weights))),
        due_(count_due()),
        next_place_(due_),
        slack_(due_),
        candidates_(static_cast<size_t>(length_)),
        done_(weights.size()),
        place_(weights.size()) {}

  std::vector<uint16_t> run() {
    std::vector<uint16_t> turns;
    turns.reserve(static_cast<size_t>(length_));
    for (size_t i = 0; i < weights_.size(); ++i) start_job(i, 0);
    for (int64_t slot = 0; slot < length_; ++slot) {
      wake(slot);
      const size_t i = choose();
      turns.push_back(static_cast<uint16_t>(i));
      candidates_.set(place_[i], LeastTree::kNone);
      slack_.take_before(static_cast<size_t>(deadline(i)));
      slack_.retire(static_cast<size_t>(slot + 1));
      ++done_[i];
      start_job(i, slot + 1);
    }
    return turns;
  }

 private:
  // A candidate's rank: not yet due by its lag, moved deadline, index.
  static constexpr uint64_t kEarly = uint64_t{1} << 60;
  static constexpr int kIndexBits = 16;
  static constexpr int64_t kRankBias = int64_t{1} << 40;  // a moved time is within +-5L slots

  // A backend to be considered again at a slot, unless it has run since.
  struct Wake {
    int64_t slot;
    uint32_t backend;
    uint32_t done;
    bool operator>(const Wake& other) const { return slot > other.slot; }
  };

  // Places of the candidates are ordered by deadline: those due at d are due_[d-1]..due_[d]-1.
  Weights count_due() const {
    Weights due(static_cast<size_t>(length_) + 1);
    for (const int64_t weight : weights_) {
      for (int64_t j = 1; j <= weight; ++j) {
        ++due[static_cast<size_t>((j * length_ + weight - 1) / weight)];
      }
    }
    std::partial_sum(due.begin(), due.end(), due.begin());
    return due;
  }

  int64_t release(size_t i) const { return done_[i] * length_ / weights_[i]; }
  int64_t deadline(size_t i) const {
    return ((done_[i] + 1) * length_ + weights_[i] - 1) / weights_[i];
  }
  // When the backend's share, moved by its lag, reaches `turns`: in 2^-20 slots.
  int64_t moved_time(size_t i, int64_t turns) const {
    return divide_down(((turns << kLagBits) - lags_[i]) * length_, weights_[i]);
  }

  void start_job(size_t i, int64_t now) {
    if (done_[i] == weights_[i]) return;
    place_[i] = next_place_[static_cast<size_t>(deadline(i)) - 1]++;
    consider(i, now);
  }

  void consider(size_t i, int64_t now) {
    if (release(i) > now) return wake_at(release(i), i);
    const int64_t moved_release = moved_time(i, done_[i]) >> kLagBits;
    const bool early = moved_release > now;
    if (early) wake_at(moved_release, i);
    const auto time = static_cast<uint64_t>(moved_time(i, done_[i] + 1) + kRankBias);
    candidates_.set(place_[i], (early ? kEarly : 0) | time << kIndexBits | i);
  }

  void wake_at(int64_t slot, size_t i) {
    if (slot >= length_) return;
    wakes_.push({slot, static_cast<uint32_t>(i), static_cast<uint32_t>(done_[i])});
  }

  void wake(int64_t now) {
    while (!wakes_.empty() && wakes_.top().slot <= now) {
      const Wake due = wakes_.top();
      wakes_.pop();
      if (done_[due.backend] == due.done) consider(due.backend, now);
    }
  }

  size_t choose() const {
    const uint64_t least = candidates_.least_below(due_[slack_.first_without()]);
    assert(least != LeastTree::kNone);
    return least & ((uint64_t{1} << kIndexBits) - 1);
  }

  std::span<const uint32_t> weights_;
  std::span<const int32_t> lags_;
  int64_t length_;
  Weights due_;
  Weights next_place_;
  SlackTree slack_;
  LeastTree candidates_;
  std::vector<int64_t> done_;
  std::vector<size_t> place_;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> wakes_;
};

}  // namespace

TurnSequence build_turn_sequence(std::span<const TurnBackend> backends) {
  assert(backends.size() <= kBackendCountMax);
  TurnSequence sequence;
  if (backends.empty()) return sequence;
  for (const TurnBackend& backend : backends) {
    assert(backend.weight >= 1 && backend.weight <= kWeightMax);
    sequence.weights.push_back(backend.weight);
  }
  reduce(sequence.weights);
  sequence.rounded = sum_of(sequence.weights) > kSequenceLengthMax;
  if (sequence.rounded) {
    scale_down(sequence.weights);
    reduce(sequence.weights);
  }
  sequence.lags = settle(backends, sequence.weights);
  sequence.turns = Planner(sequence.weights, sequence.lags).run();
  return sequence;
}

std::vector<int32_t> carry(std::span<const int32_t> lags, std::span<const uint16_t> turns,
                           std::span<const uint32_t> weights, uint64_t tickets) {
  assert(lags.size() == weights.size());
  if (turns.empty()) return {};
  const size_t part = tickets % turns.size();  // whole cycles change no lag
  const std::vector<int64_t> share = split(static_cast<int64_t>(part) << kLagBits, weights);
  std::vector<int64_t> counted(weights.size());
  for (uint16_t turn : turns.first(part)) counted[turn] += kLagOne;
  std::vector<int32_t> now;
  now.reserve(lags.size());
  for (size_t i = 0; i < lags.size(); ++i) {
    now.push_back(static_cast<int32_t>(lags[i] + share[i] - counted[i]));
  }
  return now;
}

}  // namespace rota
