// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/compile/rule_set.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <numeric>

#include "controlplane/model/text.h"

namespace rota {
namespace {

bool operator<(const rota_address& a, const rota_address& b) {
  return a.high != b.high ? a.high < b.high : a.low < b.low;
}
bool operator==(const rota_address& a, const rota_address& b) {
  return a.high == b.high && a.low == b.low;
}

// Lists of rules, each kept once.
class Lists {
 public:
  Lists() { begin_of({}); }  // at 0: no rule

  uint32_t begin_of(const std::vector<uint32_t>& numbers) {
    const auto [known, is_new] = begins_.emplace(numbers, static_cast<uint32_t>(words_.size()));
    if (is_new) {
      words_.push_back(static_cast<uint32_t>(numbers.size()));
      words_.insert(words_.end(), numbers.begin(), numbers.end());
    }
    return known->second;
  }
  const std::vector<uint32_t>& words() const { return words_; }

 private:
  std::map<std::vector<uint32_t>, uint32_t> begins_;
  std::vector<uint32_t> words_;
};

// A family's address space, cut where the rules that concern a source change.
struct Ranges {
  std::vector<rota_address> starts;  // the first is 0
  std::vector<uint32_t> lists;       // by range
};

// Where a rule begins or ceases to concern a source.
struct Edge {
  rota_address at;
  uint32_t number;
  bool begins;
};

// Nothing: the prefix reaches the end of the address space.
std::optional<rota_address> end_of(const AddressPrefix& source) {
  const bool ipv4 = source.address.is_ipv4();
  const uint32_t length = source.length + (ipv4 ? 96u : 0u);
  rota_address end = order_of(source.address);
  if (length == 0) return std::nullopt;
  if (length > 64)
    end.low += uint64_t{1} << (128 - length);
  else
    end.low = 0, end.high += uint64_t{1} << (64 - length);
  if (length > 64 && end.low == 0) ++end.high;
  const bool over = ipv4 ? end.low >> 32 != 0xffff : end == rota_address{0, 0};
  return over ? std::nullopt : std::optional(end);
}

rota_address begin_of_family(bool ipv4) {
  return ipv4 ? rota_address{0, uint64_t{0xffff} << 32} : rota_address{0, 0};
}

std::vector<Edge> edges_of(const RuleSet& set, std::span<const FirewallRule> rules, bool ipv4) {
  std::vector<Edge> edges;
  for (uint32_t number = 0; number < set.order.size(); ++number) {
    const auto& source = rules[set.order[number]].source;
    if (!source) {
      edges.push_back({begin_of_family(ipv4), number, true});
    } else if (source->address.is_ipv4() == ipv4) {
      edges.push_back({order_of(source->address), number, true});
      if (const auto end = end_of(*source)) edges.push_back({*end, number, false});
    }
  }
  std::ranges::sort(edges, [](const Edge& a, const Edge& b) { return a.at < b.at; });
  return edges;
}

// Nothing that comes after it is ever asked.
bool decides_all(const rota_rule& rule) {
  const bool conditional = rule.mask.high != 0 || rule.mask.low != 0 || rule.port_first != 0 ||
                           rule.port_last != UINT16_MAX || rule.protocol != 0 || rule.traits != 0 ||
                           rule.interface != 0;
  return !conditional && (rule.action == ROTA_RULE_ALLOW || rule.action == ROTA_RULE_DENY);
}

Result<Ranges> cut(const RuleSet& set, std::span<const FirewallRule> rules, bool ipv4,
                   Lists& lists) {
  Ranges ranges{.starts = {begin_of_family(ipv4)}, .lists = {0}};
  const std::vector<Edge> edges = edges_of(set, rules, ipv4);
  std::vector<uint32_t> active;
  for (size_t i = 0; i < edges.size();) {
    const rota_address at = edges[i].at;
    for (; i < edges.size() && edges[i].at == at; ++i) {
      const auto place = std::ranges::lower_bound(active, edges[i].number);
      if (edges[i].begins)
        active.insert(place, edges[i].number);
      else
        active.erase(place);
    }
    std::vector<uint32_t> asked;
    for (const uint32_t number : active) {
      asked.push_back(number);
      if (decides_all(rules[set.order[number]].rule)) break;
    }
    if (asked.size() > ROTA_RULE_LIST_MAX)
      return Error{ErrorCode::failed_precondition,
                   fmt::format("{}: {} rules concern this source, at most {} can",
                               format_address(address_of(at)), asked.size(), ROTA_RULE_LIST_MAX)};
    const uint32_t list = lists.begin_of(asked);
    if (at == ranges.starts.back()) {
      ranges.lists.back() = list;
    } else if (list != ranges.lists.back()) {
      ranges.starts.push_back(at);
      ranges.lists.push_back(list);
    }
  }
  return ranges;
}

class CellWriter {
 public:
  uint32_t add(size_t count) {
    const auto first = static_cast<uint32_t>(cells_.size());
    cells_.resize(cells_.size() + count);
    return first;
  }
  rota_cell& at(uint32_t index) { return cells_[index]; }
  uint32_t add_words(std::span<const uint32_t> words) {
    const uint32_t first = add((words.size() + 15) / 16);
    for (size_t i = 0; i < words.size(); ++i) cells_[first + i / 16].words[i % 16] = words[i];
    return first;
  }
  std::vector<rota_cell> take() { return std::move(cells_); }

 private:
  std::vector<rota_cell> cells_;
};

void put_key(rota_cell& cell, size_t place, const rota_address& key, bool ipv4) {
  if (ipv4)
    cell.starts4[place] = static_cast<uint32_t>(key.low);
  else
    cell.starts6[place] = key;
}

uint32_t write_level(CellWriter& writer, std::span<const rota_address> keys, bool ipv4) {
  const size_t fanout = ipv4 ? 16 : 4;
  const size_t cells = (keys.size() + fanout - 1) / fanout;
  const uint32_t first = writer.add(cells);
  for (size_t i = 0; i < cells * fanout; ++i)
    put_key(writer.at(first + static_cast<uint32_t>(i / fanout)), i % fanout,
            i < keys.size() ? keys[i] : rota_address{~uint64_t{0}, ~uint64_t{0}}, ipv4);
  return first;
}

rota_tree write_tree(CellWriter& writer, const Ranges& ranges, uint32_t levels_at, bool ipv4) {
  const size_t fanout = ipv4 ? 16 : 4;
  std::vector<std::vector<rota_address>> levels{ranges.starts};  // the last one first
  while (levels.back().size() > fanout) {
    std::vector<rota_address> above;
    for (size_t i = 0; i < levels.back().size(); i += fanout) above.push_back(levels.back()[i]);
    levels.push_back(std::move(above));
  }
  std::ranges::reverse(levels);
  for (uint32_t i = 0; i < levels.size(); ++i) {
    const uint32_t first = write_level(writer, levels[i], ipv4);
    const auto cells = static_cast<uint32_t>((levels[i].size() + fanout - 1) / fanout);
    writer.at(levels_at + i / 8).levels[i % 8] = {.first = first, .cells = cells};
  }
  return {.levels = static_cast<uint32_t>(levels.size()),
          .levels_at = levels_at,
          .ranges = static_cast<uint32_t>(ranges.starts.size()),
          .lists_at = writer.add_words(ranges.lists)};
}

}  // namespace

Result<RuleSet> compile_rules(std::span<const FirewallRule> rules, uint64_t seed) {
  RuleSet set;
  set.order.resize(rules.size());
  std::iota(set.order.begin(), set.order.end(), 0u);
  std::ranges::stable_sort(set.order, {}, [&](uint32_t index) { return rules[index].rank; });
  Lists lists;
  const auto ipv4 = cut(set, rules, true, lists);
  if (!ipv4) return ipv4.error();
  const auto ipv6 = cut(set, rules, false, lists);
  if (!ipv6) return ipv6.error();

  CellWriter writer;
  const uint32_t head_at = writer.add(1);
  const uint32_t levels4_at = writer.add((ROTA_LEVELS4 + 7) / 8);
  const uint32_t levels6_at = writer.add((ROTA_LEVELS6 + 7) / 8);
  const rota_tree tree4 = write_tree(writer, *ipv4, levels4_at, true);
  const rota_tree tree6 = write_tree(writer, *ipv6, levels6_at, false);
  if (tree4.levels > ROTA_LEVELS4 || tree6.levels > ROTA_LEVELS6)
    return Error{ErrorCode::failed_precondition,
                 fmt::format("{} IPv4 and {} IPv6 ranges of sources are too many", tree4.ranges,
                             tree6.ranges)};
  const uint32_t words_at = writer.add_words(lists.words());
  const uint32_t rules_at = writer.add(rules.size());
  for (uint32_t number = 0; number < set.order.size(); ++number)
    writer.at(rules_at + number).rule = rules[set.order[number]].rule;
  const uint32_t cells = writer.add(0);
  writer.at(head_at).head = {.magic = ROTA_RULES_MAGIC,
                             .cells = cells,
                             .seed = seed,
                             .rules_at = rules_at,
                             .words_at = words_at,
                             .ipv4 = tree4,
                             .ipv6 = tree6};
  set.cells = writer.take();
  return set;
}

SharedBlob make_rules_blob(std::span<const rota_cell> cells) {
  BlobBuilder<SnapshotRules> blob(BlobKind::rules,
                                  sizeof(SnapshotRules) + cells.size_bytes() + kBlobAlignment);
  const BlobArray array = blob.append(cells);
  blob.head().cells = array;
  return blob.finish();
}

}  // namespace rota
