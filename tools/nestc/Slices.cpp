//===- Slices.cpp - published slicing tables --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Slices.h"
#include "lowering/runtime/Files.h"
#include "passes/Submodel.h"
#include "tools/nestc/Frontier.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace nestc;
using llvm::StringRef;

namespace {

/// A line of a CSV file (RFC 4180): its cells, and where it begins.
struct Record {
  int64_t line;
  std::vector<std::string> cells;
};

} // namespace

static rt::Error errorAt(const std::string &path, int64_t line,
                         std::string message, std::string legal) {
  return {path + ": line " + std::to_string(line), std::move(message),
          std::move(legal)};
}

/// A cell in quotes may hold commas, line ends, and quotes written twice.
static rt::Expected<std::vector<Record>> readCsv(StringRef text,
                                                 const std::string &path) {
  std::vector<Record> records;
  int64_t line = 1;
  text.consume_front("\xef\xbb\xbf");
  while (!text.empty()) {
    Record record = {line, {}};
    for (bool more = true; more;) {
      std::string cell;
      if (text.consume_front("\"")) {
        while (true) {
          size_t end = text.find('"');
          if (end == StringRef::npos)
            return errorAt(path, record.line, "a quote is not closed",
                           "\"...\", with quotes inside written twice");
          cell += text.take_front(end);
          text = text.drop_front(end + 1);
          if (!text.consume_front("\""))
            break;
          cell += '"';
        }
        line += llvm::count(cell, '\n');
        if (!text.empty() && !StringRef(",\r\n").contains(text.front()))
          return errorAt(path, record.line, "text follows a closed quote",
                         "a comma or the end of the line");
      } else {
        cell = text.take_until([](char c) { return c == ',' || c == '\n'; })
                   .rtrim('\r')
                   .str();
        text = text.drop_until([](char c) { return c == ',' || c == '\n'; });
      }
      record.cells.push_back(std::move(cell));
      text.consume_front("\r");
      more = text.consume_front(",");
    }
    text.consume_front("\n");
    ++line;
    if (record.cells.size() > 1 || !StringRef(record.cells[0]).trim().empty())
      records.push_back(std::move(record));
  }
  return records;
}

/// A number as Python writes it, 2_048, or a product of such.
static std::optional<int64_t> readProduct(StringRef text) {
  __int128 product = 1;
  while (true) {
    auto [factor, rest] = text.split('*');
    std::string digits;
    for (char c : factor.trim())
      if (c != '_')
        digits += c;
    int64_t value;
    if (digits.empty() || !llvm::all_of(digits, llvm::isDigit) ||
        StringRef(digits).getAsInteger(10, value))
      return std::nullopt;
    product *= value;
    if (product > INT32_MAX)
      return std::nullopt;
    if (rest.size() + factor.size() == text.size())
      return static_cast<int64_t>(product);
    text = rest;
  }
}

/// "[2_048 * 4, 16384]"; nothing is an empty list.
static rt::Expected<std::vector<int64_t>>
readList(StringRef text, int64_t least, const std::string &path, int64_t line,
         const char *column) {
  std::vector<int64_t> list;
  text = text.trim();
  auto refuse = [&](StringRef what) {
    return errorAt(path, line,
                   std::string(column) + " has '" + what.str() + "'",
                   "a list of whole numbers or products from " +
                       std::to_string(least) + " on: [2_048 * 4, 16384]");
  };
  if (text.empty())
    return list;
  StringRef whole = text;
  if (!text.consume_front("[") || !text.consume_back("]"))
    return refuse(whole);
  text = text.trim();
  if (text.consume_back(","))
    text = text.rtrim();
  if (text.empty())
    return list;
  llvm::SmallVector<StringRef> parts;
  text.split(parts, ',');
  for (StringRef part : parts) {
    std::optional<int64_t> value = readProduct(part);
    if (!value || *value < least)
      return refuse(part.trim());
    list.push_back(*value);
  }
  return list;
}

rt::Expected<SlicingTable> SlicingTable::read(const std::string &path) {
  NEST_RT_ASSIGN(rt::MappedFile file, rt::MappedFile::open(path));
  if (file.size() > uint64_t(1) << 24)
    return rt::Error(path, "has " + std::to_string(file.size()) + " bytes",
                     "at most 16 MiB");
  return parse(file.text(), path);
}

rt::Expected<SlicingTable> SlicingTable::parse(std::string_view text,
                                               const std::string &path) {
  NEST_RT_ASSIGN(std::vector<Record> records, readCsv(text, path));
  if (records.empty())
    return rt::Error(path, "is empty", "a table with a line of column names");
  static constexpr const char *kColumns[] = {"name", "FFN Hidden Dims",
                                             "Layers Skipped"};
  size_t at[std::size(kColumns)];
  for (size_t index = 0; index < std::size(kColumns); ++index) {
    StringRef column = kColumns[index];
    auto found = llvm::find_if(records[0].cells, [&](StringRef cell) {
      return cell.trim() == column;
    });
    if (found == records[0].cells.end())
      return errorAt(path, records[0].line,
                     "there is no column '" + column.str() + "'",
                     "a slicing table has name, FFN Hidden Dims and Layers "
                     "Skipped");
    at[index] = found - records[0].cells.begin();
  }
  SlicingTable table;
  table.path = path;
  for (const Record &record : llvm::drop_begin(records)) {
    if (record.cells.size() != records[0].cells.size())
      return errorAt(path, record.line,
                     "has " + std::to_string(record.cells.size()) + " cells",
                     "one for each of the " +
                         std::to_string(records[0].cells.size()) + " columns");
    Slice slice;
    slice.name = StringRef(record.cells[at[0]]).trim().str();
    slice.place = path + ": line " + std::to_string(record.line);
    if (slice.name.empty())
      return errorAt(path, record.line, "has no name", "a name for every row");
    for (const Slice &other : table.rows)
      if (other.name == slice.name)
        return errorAt(path, record.line, "'" + slice.name + "' is named twice",
                       "a name of its own for every row");
    NEST_RT_ASSIGN(slice.widths, readList(record.cells[at[1]], 1, path,
                                          record.line, kColumns[1]));
    NEST_RT_ASSIGN(slice.skipped, readList(record.cells[at[2]], 0, path,
                                           record.line, kColumns[2]));
    llvm::sort(slice.skipped);
    if (std::adjacent_find(slice.skipped.begin(), slice.skipped.end()) !=
        slice.skipped.end())
      return errorAt(path, record.line, "skips a layer twice",
                     "every layer once");
    table.rows.push_back(std::move(slice));
  }
  if (table.rows.empty())
    return rt::Error(path, "has no rows", "a row for every submodel");
  return table;
}

rt::Expected<const Slice *> SlicingTable::find(const std::string &name) const {
  std::vector<std::string> names;
  for (const Slice &slice : rows) {
    if (slice.name == name)
      return &slice;
    names.push_back(slice.name);
  }
  std::string near = nearestName(name, names);
  return rt::Error(path,
                   "there is no slice '" + name + "'" +
                       (near.empty() ? "" : " (did you mean " + near + "?)"),
                   "named are " + llvm::join(names, ", "));
}

rt::Expected<std::vector<int64_t>> nestc::widthsOf(const Slice &slice,
                                                   int64_t numLayers) {
  if (!slice.skipped.empty() && slice.skipped.back() >= numLayers)
    return rt::Error(slice.place,
                     "skips layer " + std::to_string(slice.skipped.back()),
                     "the model has layers 0-" + std::to_string(numLayers - 1));
  size_t left = numLayers - slice.skipped.size();
  if (slice.widths.size() != left)
    return rt::Error(
        slice.place, "has " + std::to_string(slice.widths.size()) + " widths",
        "one for each of the " + std::to_string(left) +
            " layers that are left of " + std::to_string(numLayers));
  std::vector<int64_t> widths;
  widths.reserve(numLayers);
  auto next = slice.widths.begin();
  for (int64_t layer = 0; layer < numLayers; ++layer)
    widths.push_back(llvm::is_contained(slice.skipped, layer) ? 0 : *next++);
  return widths;
}

rt::Expected<std::string> nestc::expandPreset(const std::string &text,
                                              const std::string &path,
                                              int64_t numLayers) {
  constexpr StringRef key = "preset=";
  size_t at = StringRef(text).starts_with(key) ? 0 : text.find(",preset=");
  if (at == std::string::npos)
    return text;
  if (path.empty())
    return rt::Error("submodel '" + text + "'", "'preset' names a slice",
                     "give the table with --slices FILE.csv");
  size_t name = text.find('=', at) + 1;
  NEST_RT_ASSIGN(SlicingTable table, SlicingTable::read(path));
  NEST_RT_ASSIGN(const Slice *slice, table.find(text.substr(name)));
  NEST_RT_ASSIGN(std::vector<int64_t> widths, widthsOf(*slice, numLayers));
  return text.substr(0, at) + (at ? "," : "") + describeWidths(widths);
}
