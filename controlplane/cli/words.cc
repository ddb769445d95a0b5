// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/words.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>

#include "controlplane/model/text.h"

namespace rota::cli {
namespace {

std::string expected(std::string_view what, std::string_view got, std::string_view form) {
  return fmt::format("{} \"{}\": expected {}", what, got, form);
}

template <typename T>
std::string complaint(const Result<T>& result) {
  return result ? "" : result.error().message;
}

// nullopt: not a number, or beyond 64 bits.
std::optional<uint64_t> digits(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> duration_ms(std::string_view text) {
  static constexpr struct {
    std::string_view unit;
    uint64_t ms;
  } kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"", 1000}};
  const size_t split = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = digits(text.substr(0, split));
  for (const auto& [unit, ms] : kUnits)
    if (count && *count < 1'000'000'000'000 && text.substr(split) == unit) return *count * ms;
  return std::nullopt;
}

}  // namespace

std::string check_name(std::string_view what, std::string_view text) {
  return complaint(parse_name(what, text));
}

std::string check_endpoint(std::string_view what, std::string_view text) {
  return complaint(parse_endpoint(what, text));
}

std::string check_vip(std::string_view what, std::string_view text) {
  const size_t slash = text.rfind('/');
  const std::string_view endpoint = text.substr(0, slash);
  std::string wrong = check_endpoint(what, endpoint);
  if (!wrong.empty()) return wrong;
  if (slash == std::string_view::npos)
    return expected(what, text, fmt::format("a protocol at its end, as in {}/tcp", text));
  const std::string_view protocol = text.substr(slash + 1);
  const auto parsed = parse_protocol(protocol);
  return parsed ? "" : fmt::format("{} \"{}\": {}", what, text, parsed.error().message);
}

std::string check_client(std::string_view what, std::string_view text) {
  if (parse_address(what, text)) return "";
  return check_endpoint(what, text);
}

std::string check_number(std::string_view what, std::string_view text, uint64_t least,
                         uint64_t most) {
  const auto value = digits(text);
  if (value && *value >= least && *value <= most) return "";
  return expected(what, text, fmt::format("a number, {}..{}", least, most));
}

std::string check_seconds(std::string_view what, std::string_view text, uint64_t least_s,
                          uint64_t most_s) {
  const auto value = duration_ms(text);
  const auto seconds = value && *value % 1000 == 0 ? std::optional(*value / 1000) : std::nullopt;
  if (seconds && *seconds >= least_s && *seconds <= most_s) return "";
  return expected(what, text,
                  fmt::format("whole seconds, {}..{}, as in 90 or 15m", least_s, most_s));
}

std::string check_duration(std::string_view what, std::string_view text, uint64_t least_ms,
                           uint64_t most_ms) {
  const auto value = duration_ms(text);
  if (value && *value >= least_ms && *value <= most_ms) return "";
  return expected(
      what, text,
      fmt::format("a time, {}..{}, as in 500ms or 2s", show_ms(least_ms), show_ms(most_ms)));
}

std::string check_rate(std::string_view what, std::string_view text) {
  const bool is_rate = text.size() > 2 && text[0] >= '1' && text[0] <= '9' &&
                       (text.ends_with("/s") || text.ends_with("/m"));
  if (is_rate) return "";
  return fmt::format("{} \"{}\": expected a rate such as 100/s, 10k/s or 30/m", what, text);
}

std::string check_pair(std::string_view what, std::string_view text) {
  const size_t comma = std::min(text.find(','), text.size());
  if (comma == text.size() || text.find(',', comma + 1) != std::string_view::npos)
    return expected(what, text, "two names with a comma between them, as in lb1,lb2");
  const auto names = pair_of(text);
  for (const std::string& name : names) {
    if (std::string wrong = check_name(what, name); !wrong.empty()) return wrong;
    if (name.size() > 32 || name.starts_with('.') || name == "ca")
      return expected(what, name, "a node's name: at most 32 letters, not ca");
  }
  return names[0] == names[1] ? expected(what, text, "two different names") : "";
}

std::string check_choice(std::string_view what, std::string_view text, std::string_view choices) {
  std::string listed;
  for (size_t start = 0; start <= choices.size();) {
    const size_t end = std::min(choices.find('|', start), choices.size());
    const std::string_view choice = choices.substr(start, end - start);
    if (text == choice) return "";
    listed += listed.empty() ? "" : ", ";
    listed += choice;
    start = end + 1;
  }
  return expected(what, text, "one of " + listed);
}

uint64_t number_of(std::string_view text) { return digits(text).value(); }

uint64_t duration_ms_of(std::string_view text) { return duration_ms(text).value(); }

bool is_ipv6_endpoint(std::string_view text) { return text.starts_with('['); }

Vip vip_of(std::string_view text) {
  const size_t slash = text.rfind('/');
  return {std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

std::array<std::string, 2> pair_of(std::string_view text) {
  const size_t comma = text.find(',');
  return {std::string(text.substr(0, comma)), std::string(text.substr(comma + 1))};
}

std::string show_ms(uint64_t ms) {
  if (ms % 3'600'000 == 0) return fmt::format("{}h", ms / 3'600'000);
  return ms % 1000 ? fmt::format("{}ms", ms) : fmt::format("{}s", ms / 1000);
}

std::string show_duration(uint64_t seconds) {
  const uint64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (days > 0) return fmt::format("{}d{:02}h", days, hours % 24);
  if (hours > 0) return fmt::format("{}h{:02}m", hours, minutes % 60);
  if (minutes > 0) return fmt::format("{}m{:02}s", minutes, seconds % 60);
  return fmt::format("{}s", seconds);
}

}  // namespace rota::cli
