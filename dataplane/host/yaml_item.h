// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// YAML item: one value of a file that an operator wrote, and how it is read: what it says, or a
// refusal with its line, its name, what was expected and what was found.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>
#include <yaml-cpp/yaml.h>

#include "dataplane/core/wire.h"

namespace rota {

// What ends the reading; its text is the operator's, without the file name.
struct Refusal {
  int line;
  std::string text;
};

class Item {
 public:
  // `name`: as the operator knows it; "" is the whole file.
  Item(const YAML::Node& node, std::string name, int line)
      : node_(node), name_(std::move(name)), line_(line) {}

  bool is_there() const { return node_.IsDefined() && !node_.IsNull(); }
  bool is_list() const { return is_there() && node_.IsSequence(); }
  int line() const { return line_; }

  // These throw Refusal, as do all below where the value is not what is asked for.
  [[noreturn]] void refuse(const std::string& expected) const;
  [[noreturn]] void refuse_text(const std::string& text) const;

  std::string text() const;
  uint64_t number(uint64_t low, uint64_t high) const;
  uint64_t number_or(uint64_t value, uint64_t low, uint64_t high) const {
    return is_there() ? number(low, high) : value;
  }
  bool truth_or(bool value) const;
  // The position of the text in `words`.
  size_t one_of(std::initializer_list<std::string_view> words) const;
  std::string identifier(size_t length_max) const;
  std::string absolute_path() const;
  Address address() const;

  // Refuses keys that are not among `keys`, and keys given twice.
  void expect_keys(std::span<const std::string_view> keys) const;
  void expect_keys(std::initializer_list<std::string_view> keys) const {
    expect_keys(std::span(keys.begin(), keys.size()));
  }
  // Refuses keys without a value, where an absent one means much.
  void expect_values() const;
  Item operator[](const std::string& key) const;
  // At least one.
  std::vector<Item> list(const std::string& expected) const;

 private:
  Item make(const YAML::Node& value, std::string name) const;
  std::string child_name(const std::string& key) const {
    return name_.empty() ? key : name_ + "." + key;
  }

  YAML::Node node_;
  std::string name_;
  int line_;
};

std::string quote(std::string_view text);

// Calls read(top) with what load() gives; or says why not: "NAME:LINE: what".
template <typename T, typename Load>
std::variant<T, std::string> read_yaml(const std::string& name, Load load,
                                       const std::function<T(const Item& top)>& read) {
  try {
    return read(Item(load(), "", 1));
  } catch (const Refusal& refusal) {
    return name + ":" + std::to_string(refusal.line) + ": " + refusal.text;
  } catch (const YAML::BadFile&) {
    return name + ": cannot be read";
  } catch (const YAML::Exception& error) {
    return name + ":" + std::to_string(error.mark.line + 1) +
           ": expected YAML, found: " + error.msg;
  }
}
template <typename T>
std::variant<T, std::string> read_yaml_file(const std::string& path,
                                            const std::function<T(const Item& top)>& read) {
  return read_yaml<T>(
      path, [&] { return YAML::LoadFile(path); }, read);
}
template <typename T>
std::variant<T, std::string> read_yaml_text(const std::string& name, const std::string& text,
                                            const std::function<T(const Item& top)>& read) {
  return read_yaml<T>(
      name, [&] { return YAML::Load(text); }, read);
}

}  // namespace rota
