// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "dataplane/host/yaml_item.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <filesystem>
#include <set>

namespace rota {
namespace {

constexpr std::string_view kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

std::string join(std::span<const std::string_view> words) {
  std::string all;
  for (std::string_view word : words) all += (all.empty() ? "" : ", ") + std::string(word);
  return all;
}

std::string what_it_is(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar:
      return quote(node.Scalar());
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a mapping";
    default:
      return "nothing";
  }
}

}  // namespace

std::string quote(std::string_view text) { return "\"" + std::string(text) + "\""; }

void Item::refuse(const std::string& expected) const {
  refuse_text("expected " + expected + ", found " + (is_there() ? what_it_is(node_) : "nothing"));
}

void Item::refuse_text(const std::string& text) const {
  throw Refusal{line_, name_.empty() ? text : name_ + ": " + text};
}

std::string Item::text() const {
  if (!is_there() || !node_.IsScalar()) refuse("a text");
  return node_.Scalar();
}

uint64_t Item::number(uint64_t low, uint64_t high) const {
  const std::string range =
      "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  if (!is_there() || !node_.IsScalar()) refuse(range);
  const std::string& digits = node_.Scalar();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < low || value > high)
    refuse(range);
  return value;
}

bool Item::truth_or(bool value) const {
  if (!is_there()) return value;
  if (!YAML::convert<bool>::decode(node_, value)) refuse("true or false");
  return value;
}

size_t Item::one_of(std::initializer_list<std::string_view> words) const {
  const auto* found = std::find(words.begin(), words.end(), text());
  if (found == words.end()) refuse("one of " + join({words.begin(), words.size()}));
  return static_cast<size_t>(found - words.begin());
}

std::string Item::identifier(size_t length_max) const {
  std::string value = text();
  if (value.empty() || value.size() > length_max || value.front() == '.' ||
      value.find_first_not_of(kNameCharacters) != std::string::npos)
    refuse("a name of 1 to " + std::to_string(length_max) + " letters, digits, '_', '-', '.'");
  return value;
}

std::string Item::absolute_path() const {
  const std::string value = text();
  if (value.empty() || value.front() != '/') refuse("an absolute path");
  return std::filesystem::path(value).lexically_normal().string();
}

void Item::expect_keys(std::span<const std::string_view> keys) const {
  if (!is_there() || !node_.IsMap()) refuse("a mapping with some of " + join(keys));
  std::set<std::string> seen;
  for (const auto& pair : node_) {
    const std::string key = pair.first.Scalar();
    const Item item(pair.second, child_name(key), pair.first.Mark().line + 1);
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      item.refuse_text("unknown key, expected one of " + join(keys));
    if (!seen.insert(key).second) item.refuse_text("given twice");
  }
}

void Item::expect_values() const {
  for (const auto& pair : node_)
    if (pair.second.IsNull())
      Item(pair.second, child_name(pair.first.Scalar()), pair.first.Mark().line + 1)
          .refuse("a value");
}

Item Item::operator[](const std::string& key) const {
  const YAML::Node value = is_there() && node_.IsMap() ? node_[key] : YAML::Node();
  return make(value, child_name(key));
}

std::vector<Item> Item::list(const std::string& expected) const {
  if (!is_there() || !node_.IsSequence() || node_.size() == 0) refuse(expected);
  std::vector<Item> items;
  for (size_t i = 0; i < node_.size(); ++i)
    items.push_back(make(node_[i], name_ + "[" + std::to_string(i) + "]"));
  return items;
}

Item Item::make(const YAML::Node& value, std::string name) const {
  const int line = value.IsDefined() && !value.Mark().is_null() ? value.Mark().line + 1 : line_;
  return {value, std::move(name), line};
}

Address Item::address() const {
  const std::string given = text();
  Be32 ipv4;
  Ipv6Address ipv6;
  if (::inet_pton(AF_INET, given.c_str(), &ipv4) == 1) return Address::from_ipv4(ipv4);
  if (::inet_pton(AF_INET6, given.c_str(), &ipv6) == 1) return Address::from_ipv6(ipv6);
  refuse("an IPv4 or IPv6 address");
}

}  // namespace rota
