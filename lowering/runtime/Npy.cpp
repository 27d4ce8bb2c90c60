//===- Npy.cpp - NumPy array files ------------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Npy.h"

#include <cstring>

using namespace nestc::rt;

namespace {
/// Reads the Python literal of the header, as NumPy writes it: a dict of three
/// keys whose values are a string, a boolean and a tuple of integers.
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : text(text) {}

  bool parse() {
    if (!take('{'))
      return false;
    bool hasDescr = false, hasOrder = false, hasShape = false;
    while (!take('}')) {
      std::string key;
      if (!quoted(key) || !take(':'))
        return false;
      if (key == "descr" && !hasDescr)
        hasDescr = quoted(descr);
      else if (key == "fortran_order" && !hasOrder)
        hasOrder = boolean(fortran);
      else if (key == "shape" && !hasShape)
        hasShape = tuple(shape);
      else
        return false;
      if (take(','))
        continue;
      if (!take('}'))
        return false;
      break;
    }
    skip();
    return hasDescr && hasOrder && hasShape && at == text.size();
  }

  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;

private:
  void skip() {
    while (at < text.size() &&
           (text[at] == ' ' || text[at] == '\n' || text[at] == '\t'))
      ++at;
  }
  bool take(char c) {
    skip();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }
  bool quoted(std::string &out) {
    skip();
    if (at >= text.size() || (text[at] != '\'' && text[at] != '"'))
      return false;
    size_t end = text.find(text[at], at + 1);
    if (end == std::string_view::npos)
      return false;
    out = std::string(text.substr(at + 1, end - at - 1));
    at = end + 1;
    return true;
  }
  bool boolean(bool &out) {
    skip();
    for (bool value : {true, false}) {
      std::string_view word = value ? "True" : "False";
      if (text.substr(at, word.size()) == word) {
        at += word.size();
        out = value;
        return true;
      }
    }
    return false;
  }
  bool tuple(std::vector<int64_t> &out) {
    if (!take('('))
      return false;
    while (!take(')')) {
      skip();
      int64_t number = 0;
      size_t start = at;
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text[at] - '0', &number))
          return false;
      if (at == start)
        return false;
      if (at < text.size() && text[at] == 'L') // Python 2 wrote longs
        ++at;
      out.push_back(number);
      if (take(','))
        continue;
      if (!take(')'))
        return false;
      break;
    }
    return out.size() <= 32;
  }

  std::string_view text;
  size_t at = 0;
};
} // namespace

static std::optional<DType> parseDescr(std::string_view descr) {
  static const std::pair<const char *, DType> table[] = {
      {"<f8", DType::F64}, {"<f4", DType::F32}, {"<f2", DType::F16},
      {"<i8", DType::I64}, {"<i4", DType::I32}, {"<i2", DType::I16},
      {"|i1", DType::I8},  {"<i1", DType::I8},  {"<u8", DType::U64},
      {"<u4", DType::U32}, {"<u2", DType::U16}, {"|u1", DType::U8},
      {"<u1", DType::U8},  {"|b1", DType::Bool}};
  for (const auto &row : table)
    if (descr == row.first)
      return row.second;
  return std::nullopt;
}

static const char *descrOf(DType dtype) {
  switch (dtype) {
  case DType::F64:
    return "<f8";
  case DType::F32:
    return "<f4";
  case DType::F16:
    return "<f2";
  case DType::I64:
    return "<i8";
  case DType::I32:
    return "<i4";
  case DType::I16:
    return "<i2";
  case DType::I8:
    return "|i1";
  case DType::U64:
    return "<u8";
  case DType::U32:
    return "<u4";
  case DType::BF16: // NumPy has none: the bits
  case DType::U16:
    return "<u2";
  case DType::Bool:
    return "|b1";
  case DType::F8E4M3:
  case DType::F8E5M2:
  case DType::U8:
    return "|u1";
  }
  return "|u1";
}

/// Puts elements that lie in Fortran order (the first index runs fastest) into
/// C order.
static void reorder(const char *data, size_t size,
                    const std::vector<int64_t> &shape, char *out) {
  int64_t count = *elementCount(shape), offset = 0;
  if (count == 0)
    return;
  std::vector<int64_t> index(shape.size(), 0), strides(shape.size(), 1);
  for (size_t dim = 1; dim < shape.size(); ++dim)
    strides[dim] = strides[dim - 1] * shape[dim - 1];
  for (; count > 0; --count) {
    std::memcpy(out, data + offset * size, size);
    out += size;
    for (size_t dim = shape.size(); dim-- > 0;) {
      offset += strides[dim];
      if (++index[dim] < shape[dim])
        break;
      offset -= shape[dim] * strides[dim];
      index[dim] = 0;
    }
  }
}

Expected<NpyArray> nestc::rt::readNpy(const std::string &path) {
  NpyArray array;
  NEST_RT_ASSIGN(array.map, MappedFile::open(path));
  std::string_view text = array.map.text();
  if (text.size() < 10 || text.substr(0, 6) != "\x93NUMPY")
    return Error(path, "is no .npy file", "an array written by numpy.save");
  auto byte = [&](size_t i) -> uint64_t {
    return static_cast<unsigned char>(text[i]);
  };
  unsigned major = static_cast<unsigned>(byte(6));
  if (major < 1 || major > 3)
    return Error(path, ".npy version " + std::to_string(major),
                 "versions 1 to 3");
  uint64_t start = major == 1 ? 10 : 12;
  if (text.size() < start)
    return Error(path, "ends in its header", "a complete file");
  uint64_t length = byte(8) | byte(9) << 8;
  if (major > 1)
    length |= byte(10) << 16 | byte(11) << 24;
  if (length > text.size() - start)
    return Error(path, "ends in its header", "a complete file");
  HeaderParser header(text.substr(start, length));
  if (!header.parse())
    return Error(path, "has a header that cannot be read",
                 "descr, fortran_order and shape as numpy.save writes them");
  std::optional<DType> dtype = parseDescr(header.descr);
  if (!dtype)
    return Error(path, "has elements of type \"" + header.descr + "\"",
                 "<f8 <f4 <f2 <i8 <i4 <i2 |i1 <u8 <u4 <u2 |u1 |b1; astype "
                 "converts");
  array.dtype = *dtype;
  array.shape = std::move(header.shape);
  std::optional<uint64_t> bytes = byteCount(array.dtype, array.shape);
  uint64_t stored = text.size() - start - length;
  if (!bytes || *bytes != stored)
    return Error(path,
                 "holds " + std::to_string(stored) + " bytes of data, but " +
                     shapeString(array.shape) + " of " + name(array.dtype) +
                     " needs " +
                     (bytes ? std::to_string(*bytes) : "more than 2^63"),
                 "a complete file");
  array.elements = *elementCount(array.shape);
  const char *data = text.data() + start + length;
  bool reordered = header.fortran && array.shape.size() > 1;
  size_t size = byteSize(array.dtype);
  if (reordered || reinterpret_cast<uintptr_t>(data) % size) {
    array.copy.resize(stored / 8 + 1);
    auto *copy = reinterpret_cast<char *>(array.copy.data());
    if (reordered)
      reorder(data, size, array.shape, copy);
    else
      std::memcpy(copy, data, stored);
    data = copy;
  }
  array.pointer = data;
  return array;
}

std::string nestc::rt::npyHeader(DType dtype,
                                 const std::vector<int64_t> &shape) {
  std::string dict = std::string("{'descr': '") + descrOf(dtype) +
                     "', 'fortran_order': False, 'shape': (";
  for (size_t i = 0; i < shape.size(); ++i)
    dict += (i ? ", " : "") + std::to_string(shape[i]);
  dict += shape.size() == 1 ? ",), }" : "), }";
  size_t start = dict.size() < 60000 ? 10 : 12;
  size_t total = (start + dict.size() + 1 + 63) / 64 * 64;
  dict.resize(total - start - 1, ' ');
  dict += '\n';
  std::string header = "\x93NUMPY";
  header += static_cast<char>(start == 10 ? 1 : 2);
  header += '\0';
  for (size_t i = 8; i < start; ++i)
    header += static_cast<char>(dict.size() >> 8 * (i - 8));
  return header + dict;
}

Status nestc::rt::writeNpy(const std::string &path, DType dtype,
                           const std::vector<int64_t> &shape,
                           const void *data) {
  std::optional<uint64_t> bytes = byteCount(dtype, shape);
  if (!bytes)
    return Error(path, "shape " + shapeString(shape) + " is too large");
  NEST_RT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  NEST_RT_TRY(file.write(npyHeader(dtype, shape)));
  NEST_RT_TRY(file.write(data, *bytes));
  return file.commit();
}
