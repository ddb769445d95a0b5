// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Text in aligned columns. Knows nothing of what it shows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rota::cli {

enum class Align { left, right };
enum class Colour { none, green, yellow, red, faint };

// `text` as a terminal shows it in that colour; unchanged where `coloured` is false.
std::string paint(std::string_view text, Colour colour, bool coloured);

struct Column {
  std::string title;
  Align align = Align::left;
};

struct Cell {
  std::string text;
  Colour colour = Colour::none;

  Cell(std::string_view words, Colour shade = Colour::none)
      : text(words.empty() ? "-" : words), colour(shade) {}
  Cell(const char* words) : Cell(std::string_view(words)) {}
  Cell(const std::string& words) : Cell(std::string_view(words)) {}
  Cell(uint64_t number) : text(std::to_string(number)) {}
};

// Widths only grow, so that a long table may be printed in parts.
class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // REQUIRES: as many cells as columns.
  void add(std::vector<Cell> row);

  // The titles (if there are any), then the rows added since the last take; titles only once.
  // Lines end without trailing spaces.
  std::string take(bool coloured);

  size_t waiting() const { return rows_.size(); }

 private:
  void append_line(std::string& out, const std::vector<Cell>& row, bool coloured) const;

  std::vector<Column> columns_;
  std::vector<size_t> widths_;
  std::vector<std::vector<Cell>> rows_;
  bool titles_taken_ = false;
};

}  // namespace rota::cli
