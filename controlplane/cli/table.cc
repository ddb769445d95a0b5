// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/table.h"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>
#include <utility>

namespace rota::cli {

std::string paint(std::string_view text, Colour colour, bool coloured) {
  static constexpr std::string_view kCodes[] = {"", "32", "33", "31", "2"};
  if (!coloured || colour == Colour::none) return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", kCodes[static_cast<size_t>(colour)], text);
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const Column& column : columns_) widths_.push_back(column.title.size());
}

void Table::add(std::vector<Cell> row) {
  assert(row.size() == columns_.size());
  for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].text.size());
  rows_.push_back(std::move(row));
}

std::string Table::take(bool coloured) {
  std::string out;
  const bool titled = std::any_of(columns_.begin(), columns_.end(),
                                  [](const Column& column) { return !column.title.empty(); });
  if (titled && !std::exchange(titles_taken_, true)) {
    std::vector<Cell> titles;
    for (const Column& column : columns_) titles.emplace_back(column.title);
    append_line(out, titles, coloured);
  }
  for (const auto& row : rows_) append_line(out, row, coloured);
  rows_.clear();
  return out;
}

void Table::append_line(std::string& out, const std::vector<Cell>& row, bool coloured) const {
  size_t owed = 0;  // spaces due before the next cell
  for (size_t i = 0; i < row.size(); ++i) {
    const size_t padding = widths_[i] - row[i].text.size();
    const bool right = columns_[i].align == Align::right;
    out.append(owed + (right ? padding : 0), ' ');
    out += paint(row[i].text, row[i].colour, coloured);
    owed = 2 + (right ? 0 : padding);
  }
  out += '\n';
}

}  // namespace rota::cli
