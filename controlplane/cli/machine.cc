// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/machine.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <map>
#include <ostream>
#include <yaml-cpp/yaml.h>

namespace rota::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

class JsonDocument : public Document {
 public:
  JsonDocument(std::ostream& out, bool one_line) : out_(out), one_line_(one_line) {}

  void begin_map() override { begin('{'); }
  void end_map() override { end('}'); }
  void begin_list() override { begin('['); }
  void end_list() override { end(']'); }
  void key(std::string_view name) override {
    start_value();
    out_ << json_string(name) << (one_line_ ? ":" : ": ");
    after_key_ = true;
  }
  void text(std::string_view value) override { literal(json_string(value)); }
  void literal(std::string_view value) override {
    start_value();
    out_ << value;
  }
  void finish() override { out_ << '\n'; }

 private:
  void begin(char bracket) {
    start_value();
    out_ << bracket;
    ++depth_;
    empty_ = true;
  }
  void end(char bracket) {
    --depth_;
    if (!empty_) new_line();
    out_ << bracket;
    empty_ = false;
  }
  void start_value() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    if (!empty_) out_ << ',';
    if (depth_ > 0) new_line();
    empty_ = false;
  }
  void new_line() {
    if (one_line_) return;
    out_ << '\n' << std::string(2 * depth_, ' ');
  }

  std::ostream& out_;
  bool one_line_;
  size_t depth_ = 0;
  bool empty_ = true;  // nothing written yet at this depth
  bool after_key_ = false;
};

// A plain scalar that YAML 1.1 or 1.2 would read as something else than this text.
bool needs_quotes(std::string_view text) {
  static constexpr std::string_view kWords[] = {"",   "~",  "null", "true", "false", "yes",
                                                "no", "on", "off",  "y",    "n"};
  std::string lower(text);
  for (char& c : lower) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  for (const std::string_view word : kWords)
    if (lower == word) return true;
  // Numbers, and what looks like one: dates, 60-based numbers, .inf.
  return std::string_view("0123456789+-.").find(text.front()) != std::string_view::npos;
}

class YamlDocument : public Document {
 public:
  explicit YamlDocument(std::ostream& out) : out_(out), emitter_(out) {}

  void begin_map() override { emitter_ << YAML::BeginMap; }
  void end_map() override { emitter_ << YAML::EndMap; }
  void begin_list() override { emitter_ << YAML::BeginSeq; }
  void end_list() override { emitter_ << YAML::EndSeq; }
  void key(std::string_view name) override { emitter_ << YAML::Key << std::string(name); }
  void text(std::string_view value) override {
    if (needs_quotes(value)) emitter_ << YAML::DoubleQuoted;
    emitter_ << std::string(value);
  }
  void literal(std::string_view value) override { emitter_ << std::string(value); }
  void finish() override { out_ << '\n'; }

 private:
  std::ostream& out_;
  YAML::Emitter emitter_;
};

// A single value; index < 0: the field itself, otherwise its element.
void write_value(Document& document, const Message& message, const FieldDescriptor* field,
                 int index) {
  const Reflection& of = *message.GetReflection();
  const bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return document.text(one ? of.GetString(message, field)
                               : of.GetRepeatedString(message, field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return document.message(one ? of.GetMessage(message, field)
                                  : of.GetRepeatedMessage(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return document.literal(fmt::to_string(one ? of.GetUInt64(message, field)
                                                 : of.GetRepeatedUInt64(message, field, index)));
    case FieldDescriptor::CPPTYPE_UINT32:
      return document.literal(fmt::to_string(one ? of.GetUInt32(message, field)
                                                 : of.GetRepeatedUInt32(message, field, index)));
    case FieldDescriptor::CPPTYPE_INT64:
      return document.literal(fmt::to_string(one ? of.GetInt64(message, field)
                                                 : of.GetRepeatedInt64(message, field, index)));
    case FieldDescriptor::CPPTYPE_INT32:
      return document.literal(fmt::to_string(one ? of.GetInt32(message, field)
                                                 : of.GetRepeatedInt32(message, field, index)));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return document.literal(fmt::to_string(one ? of.GetDouble(message, field)
                                                 : of.GetRepeatedDouble(message, field, index)));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return document.literal(fmt::to_string(one ? of.GetFloat(message, field)
                                                 : of.GetRepeatedFloat(message, field, index)));
    case FieldDescriptor::CPPTYPE_BOOL:
      return document.literal(
          (one ? of.GetBool(message, field) : of.GetRepeatedBool(message, field, index)) ? "true"
                                                                                         : "false");
    case FieldDescriptor::CPPTYPE_ENUM:
      return document.text(
          (one ? of.GetEnum(message, field) : of.GetRepeatedEnum(message, field, index))->name());
  }
}

// Every map of the API has text keys.
void write_map(Document& document, const Message& message, const FieldDescriptor* field) {
  const Reflection& of = *message.GetReflection();
  const FieldDescriptor* key = field->message_type()->map_key();
  std::map<std::string, const Message*> sorted;
  for (int i = 0; i < of.FieldSize(message, field); ++i) {
    const Message& entry = of.GetRepeatedMessage(message, field, i);
    sorted.emplace(entry.GetReflection()->GetString(entry, key), &entry);
  }
  document.begin_map();
  for (const auto& [name, entry] : sorted) {
    document.key(name);
    write_value(document, *entry, field->message_type()->map_value(), -1);
  }
  document.end_map();
}

}  // namespace

std::unique_ptr<Document> Document::make(Format format, std::ostream& out) {
  if (format == Format::yaml) return std::make_unique<YamlDocument>(out);
  return std::make_unique<JsonDocument>(out, format == Format::json_line);
}

void Document::message(const Message& message) {
  begin_map();
  fields(message);
  end_map();
}

void Document::fields(const Message& message) {
  const auto* type = message.GetDescriptor();
  const Reflection& of = *message.GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->has_presence() && !of.HasField(message, field)) continue;
    key(field->name());
    if (field->is_map()) {
      write_map(*this, message, field);
    } else if (field->is_repeated()) {
      begin_list();
      for (int k = 0; k < of.FieldSize(message, field); ++k) write_value(*this, message, field, k);
      end_list();
    } else {
      write_value(*this, message, field, -1);
    }
  }
}

void write_document(std::ostream& out, const Message& message, Format format) {
  auto document = Document::make(format, out);
  document->message(message);
  document->finish();
}

}  // namespace rota::cli
