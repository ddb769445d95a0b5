// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Documents for programs: the API's messages as JSON or YAML, field names as in rota.proto, fields
// without a value included, maps sorted by key. Differs from protobuf's own JSON in one thing:
// 64-bit numbers are numbers, not strings, so that `jq '.flows > 100'` means what it says.
#pragma once

#include <iosfwd>
#include <memory>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace rota::cli {

enum class Format { table, json, json_line, yaml };

// Writes one document as it is told, inner parts by begin and end in pairs.
class Document {
 public:
  // REQUIRES: format is not table; out outlives the document. json_line: all on one line.
  static std::unique_ptr<Document> make(Format format, std::ostream& out);
  virtual ~Document() = default;

  virtual void begin_map() = 0;
  virtual void key(std::string_view name) = 0;
  virtual void end_map() = 0;
  virtual void begin_list() = 0;
  virtual void end_list() = 0;
  virtual void text(std::string_view value) = 0;
  virtual void literal(std::string_view value) = 0;  // a number, true or false
  virtual void finish() = 0;                         // the last newline

  // The message as a map; fields() writes its entries into a map that is already begun.
  void message(const google::protobuf::Message& message);
  void fields(const google::protobuf::Message& message);
};

// The whole document of one message.
void write_document(std::ostream& out, const google::protobuf::Message& message, Format format);

}  // namespace rota::cli
