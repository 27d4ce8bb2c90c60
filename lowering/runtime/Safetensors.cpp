//===- Safetensors.cpp - reader and writer ----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Safetensors.h"
#include "lowering/runtime/Json.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>
#include <tuple>

using namespace nestc::rt;

/// The format's own limit on the header.
static constexpr uint64_t maxHeader = 100000000;

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

static uint64_t loadU64(const char *data) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(data[i]);
  return value;
}

/// One member of the header, but for what concerns the other tensors.
static Status readTensor(const JsonReader &reader, uint64_t dataBytes,
                         TensorInfo &info) {
  NEST_RT_TRY(reader.expectKeys({"dtype", "shape", "data_offsets"}));
  NEST_RT_ASSIGN(std::string dtypeName, reader.getString("dtype"));
  std::optional<DType> dtype = parseSafetensorsDType(dtypeName);
  if (!dtype)
    return reader.error("unknown dtype \"" + dtypeName + "\"",
                        "one of " + allSafetensorsDTypeNames());
  info.dtype = *dtype;

  NEST_RT_ASSIGN(JsonReader shape, reader.get("shape"));
  NEST_RT_ASSIGN(info.shape, shape.asIntList(0));
  if (info.shape.size() > 16)
    return shape.error("has rank " + std::to_string(info.shape.size()),
                       "at most 16");
  std::optional<uint64_t> bytes = byteCount(info.dtype, info.shape);
  if (!bytes)
    return shape.error(shapeString(info.shape) + " is too large",
                       "fewer than 2^63 bytes");
  info.bytes = *bytes;

  NEST_RT_ASSIGN(JsonReader offsets, reader.get("data_offsets"));
  NEST_RT_ASSIGN(std::vector<int64_t> range, offsets.asIntList(0));
  if (range.size() != 2 || range[0] > range[1])
    return offsets.error("is " + shapeString(range),
                         "[begin, end] with begin <= end");
  uint64_t end = static_cast<uint64_t>(range[1]);
  if (end > dataBytes)
    return offsets.error("ends at " + std::to_string(end) + ", but there are " +
                             std::to_string(dataBytes) +
                             " bytes of data in the file",
                         "a complete file; it may be truncated");
  info.offset = static_cast<uint64_t>(range[0]);
  if (end - info.offset != info.bytes)
    return offsets.error("has " + std::to_string(end - info.offset) +
                             " bytes, but shape " + shapeString(info.shape) +
                             " of " + safetensorsName(info.dtype) + " needs " +
                             std::to_string(info.bytes),
                         "ranges that match the shapes");
  return Status::success();
}

Expected<SafetensorsFile> SafetensorsFile::open(const std::string &path) {
  SafetensorsFile file;
  NEST_RT_ASSIGN(file.map, MappedFile::open(path));
  uint64_t total = file.map.size();
  if (total < 8)
    return Error(path, "has " + std::to_string(total) + " bytes",
                 "a safetensors file, which has 8 at least");
  uint64_t headerBytes = loadU64(file.map.data());
  if (headerBytes > maxHeader)
    return Error(
        path, "the header has " + std::to_string(headerBytes) + " bytes",
        "at most " + std::to_string(maxHeader) + "; is it a safetensors file?");
  if (headerBytes > total - 8)
    return Error(path,
                 "the header has " + std::to_string(headerBytes) +
                     " bytes, the file " + std::to_string(total),
                 "a complete file; it may be truncated");
  file.dataStart = 8 + headerBytes;
  uint64_t dataBytes = total - file.dataStart;

  std::string place = path + ": header";
  std::string_view text = file.map.text().substr(8, headerBytes);
  if (text.empty() || text.front() != '{')
    return Error(place, "does not begin with {", "a safetensors file");
  NEST_RT_ASSIGN(Json header, parseJson(text, place, 8));
  JsonReader reader(header, path);
  for (const Json::Member &member : header.members()) {
    NEST_RT_ASSIGN(JsonReader tensor, reader.get(member.first));
    if (member.first == "__metadata__") {
      NEST_RT_TRY(tensor.expectObject());
      for (const Json::Member &pair : tensor.json().members()) {
        NEST_RT_ASSIGN(file.meta[pair.first], tensor.getString(pair.first));
      }
      continue;
    }
    TensorInfo info;
    info.name = member.first;
    NEST_RT_TRY(readTensor(tensor, dataBytes, info));
    file.infos.push_back(std::move(info));
  }

  // In the order of the file every range begins where the one before ended,
  // and the last ends with the file: then none overlap and nothing is hidden.
  std::sort(file.infos.begin(), file.infos.end(),
            [](const TensorInfo &a, const TensorInfo &b) {
              return std::tie(a.offset, a.bytes, a.name) <
                     std::tie(b.offset, b.bytes, b.name);
            });
  uint64_t expected = 0;
  for (size_t i = 0; i < file.infos.size(); ++i) {
    TensorInfo &info = file.infos[i];
    if (info.offset != expected) {
      bool overlap = info.offset < expected;
      std::string message = "begins at " + std::to_string(info.offset) +
                            ", but what lies before it ends at " +
                            std::to_string(expected);
      if (overlap)
        message = "overlaps " + file.infos[i - 1].name + ": " + message;
      return Error(path + ": " + info.name + ".data_offsets", message,
                   "ranges without overlaps and gaps");
    }
    expected += info.bytes;
    info.data = file.map.data() + file.dataStart + info.offset;
    info.offset += file.dataStart;
    file.index.emplace(info.name, i);
  }
  if (expected != dataBytes)
    return Error(path,
                 "has " + std::to_string(dataBytes) +
                     " bytes of data, but its tensors cover " +
                     std::to_string(expected),
                 "tensors that cover the file");
  return file;
}

const TensorInfo *SafetensorsFile::find(std::string_view name) const {
  auto it = index.find(std::string(name));
  return it == index.end() ? nullptr : &infos[it->second];
}

static constexpr const char *indexName = "model.safetensors.index.json";
static constexpr const char *singleName = "model.safetensors";

Expected<Checkpoint> Checkpoint::open(const std::string &directory) {
  if (!isDirectory(directory))
    return Error(directory,
                 fileExists(directory) ? "is no directory" : "does not exist",
                 "a checkpoint directory with config.json and *.safetensors");
  Checkpoint result;
  result.dir = directory;

  std::string indexPath = joinPath(directory, indexName);
  std::vector<std::string> names;
  Json indexJson;
  if (fileExists(indexPath)) {
    NEST_RT_ASSIGN(indexJson, readJsonFile(indexPath));
    NEST_RT_ASSIGN(JsonReader map,
                   JsonReader(indexJson, indexPath).get("weight_map"));
    NEST_RT_TRY(map.expectObject());
    std::set<std::string> shards;
    for (const Json::Member &member : map.json().members()) {
      NEST_RT_ASSIGN(std::string shard, map.getString(member.first));
      if (!isPlainFileName(shard))
        return Error(map.place() + "." + member.first,
                     "the shard \"" + shard + "\" is no plain file name",
                     "the name of a file beside the index");
      shards.insert(std::move(shard));
    }
    if (shards.empty())
      return Error(map.place(), "names no shard", "tensors and their shards");
    names.assign(shards.begin(), shards.end());
  } else if (fileExists(joinPath(directory, singleName))) {
    names.push_back(singleName);
  } else {
    NEST_RT_ASSIGN(std::vector<std::string> all, listDirectory(directory));
    static const std::string ending = ".safetensors";
    for (const std::string &name : all)
      if (name.size() > ending.size() && name[0] != '.' &&
          name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
        names.push_back(name);
    if (names.empty())
      return Error(directory, "has no *.safetensors",
                   "model.safetensors, or shards with " +
                       std::string(indexName));
    if (names.size() > 1)
      return Error(directory,
                   "has " + std::to_string(names.size()) +
                       " *.safetensors but no " + indexName,
                   "one file, or shards with their index");
  }

  for (const std::string &name : names) {
    std::string path = joinPath(directory, name);
    if (!indexJson.isNull() && !fileExists(path))
      return Error(indexPath, "names the shard " + name + ", which is missing",
                   "all shards beside the index");
    NEST_RT_ASSIGN(SafetensorsFile file, SafetensorsFile::open(path));
    unsigned number = static_cast<unsigned>(result.shards.size());
    for (TensorInfo &info : file.infos)
      info.file = number;
    result.shards.push_back(std::move(file));
  }
  for (const SafetensorsFile &file : result.shards)
    for (const TensorInfo &info : file.tensors()) {
      auto [it, inserted] = result.index.emplace(info.name, &info);
      if (!inserted)
        return Error(file.path() + ": " + info.name,
                     "stands in " + result.shards[it->second->file].path() +
                         " too",
                     "every tensor in one shard");
    }
  if (indexJson.isObject())
    for (const Json::Member &member : indexJson.find("weight_map")->members()) {
      const TensorInfo *info = result.find(member.first);
      const std::string &shard = member.second.asString();
      if (!info ||
          result.shards[info->file].path() != joinPath(directory, shard))
        return Error(indexPath + ": weight_map." + member.first,
                     "is not in " + shard, "a tensor of that shard");
    }
  return result;
}

std::vector<const TensorInfo *> Checkpoint::tensors() const {
  std::vector<const TensorInfo *> all;
  for (const SafetensorsFile &file : shards)
    for (const TensorInfo &info : file.tensors())
      all.push_back(&info);
  return all;
}

const TensorInfo *Checkpoint::find(std::string_view name) const {
  auto it = index.find(std::string(name));
  return it == index.end() ? nullptr : it->second;
}

Expected<const TensorInfo *> Checkpoint::get(std::string_view name) const {
  if (const TensorInfo *info = find(name))
    return info;
  std::vector<std::string> names;
  for (const TensorInfo *info : tensors())
    names.push_back(info->name);
  std::string nearest = nearestMatch(name, names);
  return Error(dir, "has no tensor " + std::string(name),
               nearest.empty() ? "a complete checkpoint"
                               : "the nearest stored name is " + nearest);
}

std::string Checkpoint::placeOf(const TensorInfo &tensor) const {
  return shards[tensor.file].path() + ": " + tensor.name;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

Expected<size_t> SafetensorsWriter::add(std::string name, DType dtype,
                                        std::vector<int64_t> shape,
                                        ByteProducer producer) {
  std::optional<uint64_t> bytes = byteCount(dtype, shape);
  if (!bytes)
    return Error(name, "shape " + shapeString(shape) + " is too large",
                 "fewer than 2^63 bytes");
  if (name == "__metadata__" || !names.emplace(name, entries.size()).second)
    return Error(name, "cannot be written twice", "every tensor once");
  Entry entry;
  entry.name = std::move(name);
  entry.dtype = dtype;
  entry.shape = std::move(shape);
  entry.producer = std::move(producer);
  entry.bytes = *bytes;
  entries.push_back(std::move(entry));
  laidOut = false;
  return entries.size() - 1;
}

void SafetensorsWriter::setMetadata(std::string key, std::string value) {
  meta[std::move(key)] = std::move(value);
  laidOut = false;
}

void SafetensorsWriter::layout() {
  if (laidOut)
    return;
  order.resize(entries.size());
  std::iota(order.begin(), order.end(), size_t(0));
  // Gaps are not allowed: alignment comes from the order alone.
  auto rank = [&](size_t i) {
    bool aligned = entries[i].bytes % 64 == 0;
    return aligned ? 0u : 1u + 8u - byteSize(entries[i].dtype);
  };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::make_pair(rank(a), a) < std::make_pair(rank(b), b);
  });
  Json json = Json::object();
  if (!meta.empty()) {
    Json object = Json::object();
    for (const auto &pair : meta)
      object.set(pair.first, pair.second);
    json.set("__metadata__", std::move(object));
  }
  uint64_t at = 0;
  for (size_t i : order) {
    Entry &entry = entries[i];
    entry.offset = at;
    at += entry.bytes;
    Json object = Json::object();
    object.set("dtype", safetensorsName(entry.dtype));
    object.set("shape", Json::arrayOf(entry.shape));
    Json range = Json::array();
    range.push(entry.offset);
    range.push(at);
    object.set("data_offsets", std::move(range));
    json.set(entry.name, std::move(object));
  }
  std::string text = json.str();
  text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');
  header.assign(8, '\0');
  for (int i = 0; i < 8; ++i)
    header[i] = static_cast<char>(static_cast<uint64_t>(text.size()) >> 8 * i);
  header += text;
  for (Entry &entry : entries)
    entry.offset += header.size();
  totalBytes = at + header.size();
  laidOut = true;
}

Status SafetensorsWriter::write(const ByteSink &sink, const std::string &path,
                                const std::function<void(uint64_t)> &progress) {
  layout();
  if (header.size() - 8 > maxHeader)
    return Error(path,
                 "the header would have " + std::to_string(header.size()) +
                     " bytes",
                 "at most " + std::to_string(maxHeader));
  NEST_RT_TRY(sink(header.data(), header.size()));
  uint64_t done = header.size();
  for (size_t i : order) {
    Entry &entry = entries[i];
    uint64_t left = entry.bytes;
    ByteSink counted = [&](const void *data, size_t size) -> Status {
      if (size > left)
        return Error(path + ": " + entry.name, "got too many bytes",
                     std::to_string(entry.bytes));
      NEST_RT_TRY(sink(data, size));
      left -= size;
      done += size;
      if (progress)
        progress(done);
      return Status::success();
    };
    NEST_RT_TRY(entry.producer(counted));
    if (left)
      return Error(path + ": " + entry.name,
                   "lacks " + std::to_string(left) + " bytes",
                   std::to_string(entry.bytes));
  }
  return Status::success();
}

Status SafetensorsWriter::write(AtomicFile &file, const std::string &path) {
  return write(
      [&](const void *data, size_t size) { return file.write(data, size); },
      path);
}

Status SafetensorsWriter::write(OutputFile &file, const std::string &path) {
  return write(
      [&](const void *data, size_t size) { return file.write(data, size); },
      path);
}
