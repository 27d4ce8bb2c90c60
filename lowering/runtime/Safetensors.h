//===- Safetensors.h - reader and writer ------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Files are untrusted: a header that is too long, is no JSON, repeats a key,
// names an unknown element type, has shapes that do not match its ranges, or
// ranges that overlap, leave gaps or do not cover the file, is an error.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_SAFETENSORS_H
#define NESTC_LOWERING_RUNTIME_SAFETENSORS_H

#include "lowering/runtime/DType.h"
#include "lowering/runtime/Error.h"
#include "lowering/runtime/Files.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace rt {

/// One tensor of a file: row-major, dense. `data` points into the mapping and
/// lives as long as the file object; it may be unaligned.
struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  unsigned file = 0;   ///< index in Checkpoint::files()
  uint64_t offset = 0; ///< bytes from the start of the file
  uint64_t bytes = 0;
  const void *data = nullptr;
};

/// One mapped .safetensors file. Movable: tensors keep pointing to the map.
class SafetensorsFile {
public:
  static Expected<SafetensorsFile> open(const std::string &path);

  const std::string &path() const { return map.path(); }
  uint64_t fileBytes() const { return map.size(); }
  /// The 8 bytes of length and the header: what a manifest's sha256_header is
  /// the hash of.
  std::string_view headerText() const {
    return map.text().substr(0, dataStart);
  }

  /// In the order of their ranges in the file.
  const std::vector<TensorInfo> &tensors() const { return infos; }
  /// Null when there is none of that name.
  const TensorInfo *find(std::string_view name) const;
  /// `__metadata__`.
  const std::map<std::string, std::string> &metadata() const { return meta; }

private:
  friend class Checkpoint;
  MappedFile map;
  uint64_t dataStart = 0;
  std::vector<TensorInfo> infos;
  std::unordered_map<std::string, size_t> index;
  std::map<std::string, std::string> meta;
};

/// The tensors of a checkpoint directory: the shards of
/// model.safetensors.index.json when that is there; else model.safetensors;
/// else the only *.safetensors. A tensor in two shards, an indexed tensor that
/// its shard lacks, or a shard whose name is not a plain file name is an error.
class Checkpoint {
public:
  static Expected<Checkpoint> open(const std::string &directory);

  const std::string &directory() const { return dir; }
  const std::vector<SafetensorsFile> &files() const { return shards; }
  /// File by file, in the order of their ranges.
  std::vector<const TensorInfo *> tensors() const;
  size_t size() const { return index.size(); }
  /// Null when there is none of that name.
  const TensorInfo *find(std::string_view name) const;
  /// find(), or an error that names the directory, the key and the nearest
  /// stored name.
  Expected<const TensorInfo *> get(std::string_view name) const;
  /// "DIR/model-00001-of-00002.safetensors: model.norm.weight", for messages.
  std::string placeOf(const TensorInfo &tensor) const;

private:
  std::string dir;
  std::vector<SafetensorsFile> shards;
  std::unordered_map<std::string, const TensorInfo *> index;
};

/// Takes the bytes of a tensor, in pieces of any size.
using ByteSink = std::function<Status(const void *data, size_t size)>;
/// Produces all bytes of a tensor into the sink.
using ByteProducer = std::function<Status(const ByteSink &sink)>;

/// Writes a file in one pass: all tensors are declared first (so that offsets
/// are known and can go into a manifest), then their bytes are produced one
/// tensor after the other. The data begins at a multiple of 64 bytes, and
/// tensors are ordered such that every tensor whose byte count is a multiple
/// of 64 is aligned to 64, every other one to its element size.
class SafetensorsWriter {
public:
  /// Declares a tensor; an error on a repeated name or an overflowing shape.
  /// Returns its index in the order of declaration.
  Expected<size_t> add(std::string name, DType dtype,
                       std::vector<int64_t> shape, ByteProducer producer);
  void setMetadata(std::string key, std::string value);

  /// Fixes the order. Call after the last add(); write() calls it as well.
  void layout();
  /// After layout(): bytes from the start of the file of tensor `index`.
  uint64_t offset(size_t index) const { return entries[index].offset; }
  uint64_t bytes(size_t index) const { return entries[index].bytes; }
  /// After layout(): bytes of the whole file.
  uint64_t fileBytes() const { return totalBytes; }
  /// After layout(): length and header as they will stand in the file.
  const std::string &headerText() const { return header; }

  /// Writes everything to `sink`. A producer that yields too few or too many
  /// bytes is an error. `path` is for messages. `progress` may be empty; it
  /// gets the bytes written so far.
  Status write(const ByteSink &sink, const std::string &path,
               const std::function<void(uint64_t)> &progress = {});
  /// write() to an AtomicFile or an OutputFile.
  Status write(AtomicFile &file, const std::string &path);
  Status write(OutputFile &file, const std::string &path);

private:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    ByteProducer producer;
    uint64_t bytes = 0;
    uint64_t offset = 0;
  };
  std::vector<Entry> entries;
  std::unordered_map<std::string, size_t> names;
  std::map<std::string, std::string> meta;
  std::vector<size_t> order;
  std::string header;
  uint64_t totalBytes = 0;
  bool laidOut = false;
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_SAFETENSORS_H
