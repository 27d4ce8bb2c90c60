//===- Manifest.cpp - what a package says about itself ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Manifest.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Sha256.h"
#include "nest/runtime.h"

#include <algorithm>
#include <map>
#include <set>

using namespace nestc::rt;

/// Limits on counts, so that nothing untrusted makes us allocate without end.
static constexpr size_t maxBuffers = size_t(1) << 20;
static constexpr int64_t maxArena = int64_t(1) << 50;

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

uint64_t Manifest::Weight::extent() const {
  uint64_t elements = static_cast<uint64_t>(elementCount(shape).value_or(0));
  if (elements && shape.size() == 2)
    elements = static_cast<uint64_t>((shape[0] - 1) * stride() + shape[1]);
  return elements * byteSize(dtype);
}

static const Manifest::Buffer *
findBuffer(const std::vector<Manifest::Buffer> &buffers,
           std::string_view name) {
  for (const Manifest::Buffer &buffer : buffers)
    if (buffer.name == name)
      return &buffer;
  return nullptr;
}

const Manifest::Buffer *
Manifest::Entry::findInput(std::string_view name) const {
  return findBuffer(inputs, name);
}

const Manifest::Buffer *
Manifest::Entry::findOutput(std::string_view name) const {
  return findBuffer(outputs, name);
}

int Manifest::Entry::dim(std::string_view name) const {
  auto it = std::find(dims.begin(), dims.end(), name);
  return it == dims.end() ? -1 : static_cast<int>(it - dims.begin());
}

std::optional<uint64_t>
Manifest::Entry::arenaBytes(const std::vector<int64_t> &dimValues) const {
  auto value = [&](const char *name) {
    int index = dim(name);
    return index < 0 ? int64_t(1) : dimValues[static_cast<size_t>(index)];
  };
  int64_t batch = value("B"), rows, perRow, perSequence, total;
  if (__builtin_mul_overflow(batch, value("T"), &rows) ||
      __builtin_mul_overflow(rows, arena.perRow, &perRow) ||
      __builtin_mul_overflow(batch, arena.perSequence, &perSequence) ||
      __builtin_add_overflow(perRow, perSequence, &total) ||
      __builtin_add_overflow(total, arena.fixed, &total) ||
      __builtin_add_overflow(total, arena.tickets, &total))
    return std::nullopt;
  return static_cast<uint64_t>(total);
}

std::vector<int64_t>
Manifest::Entry::shapeOf(const Buffer &buffer,
                         const std::vector<int64_t> &dimValues) {
  std::vector<int64_t> shape;
  shape.reserve(buffer.shape.size());
  for (const ManifestDim &dim : buffer.shape)
    shape.push_back(dim.isDynamic() ? dimValues[static_cast<size_t>(dim.symbol)]
                                    : dim.size);
  return shape;
}

bool Manifest::Modalities::accepts(int64_t value) const {
  return std::find(accepted.begin(), accepted.end(), value) != accepted.end();
}

std::string Manifest::Modalities::legal() const {
  std::string text;
  for (int64_t index : accepted)
    text += (text.empty() ? "" : ", ") + std::to_string(index) + " (" +
            names[static_cast<size_t>(index)] + ")";
  return text;
}

Status Manifest::Modalities::check(int64_t value,
                                   const std::string &place) const {
  if (accepts(value))
    return Status::success();
  bool known = value >= 0 && value < static_cast<int64_t>(names.size());
  std::string shown = std::to_string(value);
  if (known)
    shown += " (" + names[static_cast<size_t>(value)] + ")";
  return Error(place, "is " + shown + ", no modality that is accepted",
               legal());
}

std::optional<GpuTarget> nestc::rt::parseGpuTarget(std::string_view target) {
  if (target.substr(0, 3) != "sm_")
    return std::nullopt;
  target.remove_prefix(3);
  GpuTarget result;
  if (!target.empty() && (target.back() == 'a' || target.back() == 'f')) {
    (target.back() == 'a' ? result.exact : result.family) = true;
    target.remove_suffix(1);
  }
  if (target.size() < 2 || target.size() > 3 || target[0] == '0')
    return std::nullopt;
  for (char digit : target) {
    if (digit < '0' || digit > '9')
      return std::nullopt;
    result.capability = result.capability * 10 + (digit - '0');
  }
  return result;
}

Status Manifest::Width::check(int64_t value) const {
  if (value >= low && value <= high)
    return Status::success();
  return Error(axis, "cannot be bound to " + std::to_string(value),
               "legal are " + std::to_string(low) + " to " +
                   std::to_string(high))
      .withCode(NEST_ERROR_ARGUMENT);
}

const Manifest::Width *
Manifest::Submodel::findWidth(std::string_view axis) const {
  for (const Width &width : widths)
    if (width.axis == axis)
      return &width;
  return nullptr;
}

std::vector<std::string> Manifest::submodelNames() const {
  std::vector<std::string> names = {submodel.name};
  for (const FurtherSubmodel &other : further)
    names.push_back(other.submodel.name);
  return names;
}

Expected<size_t> Manifest::findSubmodel(const std::string &name,
                                        const std::string &place) const {
  std::vector<std::string> names = submodelNames();
  if (name.empty())
    return size_t(0);
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return i;
  return Error(place, "the package holds no submodel '" + name + "'",
               legalNames(name, names))
      .withCode(NEST_ERROR_ARGUMENT);
}

size_t Manifest::submodelOf(std::string_view entry) const {
  for (size_t i = 0; i < further.size(); ++i)
    if (entry.substr(0, further[i].submodel.name.size() + 1) ==
        further[i].submodel.name + ":")
      return i + 1;
  return 0;
}

std::string Manifest::entryOf(size_t index, std::string_view entry) const {
  std::string prefix = index ? further[index - 1].submodel.name + ":" : "";
  return prefix + std::string(entry);
}

const Manifest::Entry *Manifest::findEntry(std::string_view name) const {
  for (const Entry &entry : entries)
    if (entry.name == name)
      return &entry;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

static Expected<DType> readDType(const JsonReader &reader) {
  NEST_RT_ASSIGN(std::string text, reader.asString());
  std::optional<DType> dtype = parseDType(text);
  if (!dtype)
    return reader.error("is \"" + text + "\"", "one of " + allDTypeNames());
  return *dtype;
}

static Expected<std::string> readName(const JsonReader &parent,
                                      std::string_view key) {
  NEST_RT_ASSIGN(JsonReader reader, parent.get(key));
  NEST_RT_ASSIGN(std::string text, reader.asString());
  if (text.empty() || text.find('\0') != std::string::npos)
    return reader.error("is empty or has a NUL", "a name");
  return text;
}

static Expected<Manifest::Code> readCode(const JsonReader &parent,
                                         std::string_view key) {
  Manifest::Code code;
  NEST_RT_ASSIGN(JsonReader reader, parent.get(key));
  NEST_RT_TRY(reader.expectKeys({"file", "sha256"}));
  NEST_RT_ASSIGN(code.file, readName(reader, "file"));
  NEST_RT_ASSIGN(code.sha256, reader.getString("sha256"));
  return code;
}

static Expected<Manifest::Buffer>
readBuffer(const JsonReader &reader, const std::vector<std::string> &dims,
           bool isInput) {
  Manifest::Buffer buffer;
  if (isInput) {
    NEST_RT_TRY(reader.expectKeys({"name", "dtype", "shape", "cache"}));
  } else {
    NEST_RT_TRY(reader.expectKeys({"name", "dtype", "shape"}));
  }
  NEST_RT_ASSIGN(buffer.name, readName(reader, "name"));
  NEST_RT_ASSIGN(JsonReader dtype, reader.get("dtype"));
  NEST_RT_ASSIGN(buffer.dtype, readDType(dtype));
  NEST_RT_ASSIGN(JsonReader shape, reader.get("shape"));
  NEST_RT_TRY(shape.expectArray());
  if (shape.size() > maxManifestRank)
    return shape.error("has rank " + std::to_string(shape.size()),
                       "at most " + std::to_string(maxManifestRank));
  for (size_t i = 0; i < shape.size(); ++i) {
    JsonReader size = shape.at(i);
    if (size.json().isString()) {
      NEST_RT_ASSIGN(size_t symbol, size.asOneOf(dims));
      buffer.shape.push_back(ManifestDim::dynamic(static_cast<int>(symbol)));
    } else {
      NEST_RT_ASSIGN(int64_t number, size.asInt(0, maxManifestDim));
      buffer.shape.push_back(ManifestDim::of(number));
    }
  }
  if (isInput && reader.has("cache")) {
    NEST_RT_ASSIGN(buffer.cache, reader.getBool("cache"));
  }
  return buffer;
}

static Status readModalities(const JsonReader &reader,
                             Manifest::Modalities &modalities) {
  NEST_RT_TRY(reader.expectKeys({"names", "accepted"}));
  NEST_RT_ASSIGN(JsonReader names, reader.get("names"));
  NEST_RT_ASSIGN(modalities.names, names.asStringList());
  NEST_RT_ASSIGN(JsonReader accepted, reader.get("accepted"));
  NEST_RT_ASSIGN(modalities.accepted, accepted.asIntList(0, INT32_MAX));
  return Status::success();
}

using Routes = std::vector<std::pair<std::string, std::string>>;

static Status readRoutes(const JsonReader &reader, Routes &list) {
  NEST_RT_TRY(reader.expectObject());
  for (const auto &member : reader.json().members()) {
    NEST_RT_ASSIGN(std::string text, reader.getString(member.first));
    list.emplace_back(member.first, text);
  }
  return Status::success();
}

static Status readSubmodel(const JsonReader &reader,
                           Manifest::Submodel &submodel) {
  NEST_RT_ASSIGN(submodel.name, reader.getString("name"));
  NEST_RT_ASSIGN(submodel.spec, reader.getString("spec"));
  if (!reader.has("widths"))
    return Status::success();
  NEST_RT_ASSIGN(JsonReader widths, reader.get("widths"));
  NEST_RT_TRY(widths.expectArray());
  for (size_t i = 0; i < widths.size(); ++i) {
    JsonReader item = widths.at(i);
    NEST_RT_TRY(item.expectKeys({"axis", "low", "high", "size"}));
    Manifest::Width width;
    NEST_RT_ASSIGN(width.axis, readName(item, "axis"));
    NEST_RT_ASSIGN(width.size, item.getInt("size", 1, INT32_MAX));
    NEST_RT_ASSIGN(width.high, item.getInt("high", 1, width.size));
    NEST_RT_ASSIGN(width.low, item.getInt("low", 1, width.high));
    if (submodel.findWidth(width.axis))
      return item.error("names " + width.axis + " again", "every axis once");
    submodel.widths.push_back(std::move(width));
  }
  return Status::success();
}

/// The keys parameters, weight_bytes and macs_per_token.
template <typename Figures>
static Status readFigures(const JsonReader &reader, Figures &figures) {
  NEST_RT_ASSIGN(JsonReader parameters, reader.get("parameters"));
  NEST_RT_TRY(parameters.expectKeys({"total", "effective"}));
  NEST_RT_ASSIGN(figures.totalParameters, parameters.getInt("total", 0));
  NEST_RT_ASSIGN(figures.effectiveParameters,
                 parameters.getInt("effective", 0));
  NEST_RT_ASSIGN(figures.weightBytes, reader.getInt("weight_bytes", 0));
  NEST_RT_ASSIGN(figures.macsPerToken, reader.getInt("macs_per_token", 0));
  return Status::success();
}

static Status readFurther(const JsonReader &reader,
                          Manifest::FurtherSubmodel &submodel) {
  NEST_RT_TRY(
      reader.expectKeys({"name", "spec", "widths", "parameters", "weight_bytes",
                         "macs_per_token", "modalities", "routes"}));
  NEST_RT_TRY(readSubmodel(reader, submodel.submodel));
  NEST_RT_TRY(readFigures(reader, submodel));
  if (reader.has("modalities")) {
    NEST_RT_ASSIGN(JsonReader modalities, reader.get("modalities"));
    NEST_RT_TRY(readModalities(modalities, submodel.modalities));
  }
  if (reader.has("routes")) {
    NEST_RT_ASSIGN(JsonReader routes, reader.get("routes"));
    NEST_RT_TRY(readRoutes(routes, submodel.routes));
  }
  return Status::success();
}

static Status readEntry(const JsonReader &reader, Manifest::Entry &entry) {
  NEST_RT_TRY(reader.expectKeys({"name", "symbol", "dims", "inputs", "outputs",
                                 "weights", "arena", "scratch"}));
  NEST_RT_ASSIGN(entry.name, readName(reader, "name"));
  NEST_RT_ASSIGN(entry.symbol, readName(reader, "symbol"));
  NEST_RT_ASSIGN(JsonReader dims, reader.get("dims"));
  NEST_RT_ASSIGN(entry.dims, dims.asStringList());
  for (bool isInput : {true, false}) {
    NEST_RT_ASSIGN(JsonReader buffers,
                   reader.get(isInput ? "inputs" : "outputs"));
    NEST_RT_TRY(buffers.expectArray());
    if (buffers.size() > maxBuffers)
      return buffers.error("has too many elements",
                           "at most " + std::to_string(maxBuffers));
    for (size_t i = 0; i < buffers.size(); ++i) {
      NEST_RT_ASSIGN(Manifest::Buffer buffer,
                     readBuffer(buffers.at(i), entry.dims, isInput));
      (isInput ? entry.inputs : entry.outputs).push_back(std::move(buffer));
    }
  }
  NEST_RT_ASSIGN(JsonReader weights, reader.get("weights"));
  NEST_RT_ASSIGN(entry.weights, weights.asIntList(0));
  NEST_RT_ASSIGN(JsonReader arena, reader.get("arena"));
  NEST_RT_TRY(
      arena.expectKeys({"per_row", "per_sequence", "fixed", "tickets"}));
  NEST_RT_ASSIGN(entry.arena.perRow, arena.getInt("per_row", 0, maxArena));
  NEST_RT_ASSIGN(entry.arena.perSequence,
                 arena.getInt("per_sequence", 0, maxArena));
  NEST_RT_ASSIGN(entry.arena.fixed, arena.getInt("fixed", 0, maxArena));
  NEST_RT_ASSIGN(entry.arena.tickets,
                 arena.getIntOr("tickets", 0, 0, maxArena));
  NEST_RT_ASSIGN(entry.scratch, reader.getInt("scratch", 0, maxArena));
  return Status::success();
}

Expected<Manifest> Manifest::parse(std::string_view text,
                                   const std::string &place) {
  NEST_RT_ASSIGN(Json json, parseJson(text, place, 16));
  return fromJson(json, place);
}

Expected<Manifest> Manifest::fromJson(const Json &json,
                                      const std::string &place) {
  Manifest m;
  JsonReader reader(json, place);
  NEST_RT_TRY(reader.expectObject());
  // The format comes first: what else is unknown may be newer than we are.
  NEST_RT_ASSIGN(m.format, reader.getInt("format", 1));
  if (m.format > manifestFormat)
    return Error(place + ": format",
                 "is " + std::to_string(m.format) + ", newer than this library",
                 "at most " + std::to_string(manifestFormat) +
                     "; use a newer nestc or compile the package again");
  NEST_RT_ASSIGN(m.abi, reader.getInt("abi", 1));
  if (m.abi > codeAbi)
    return Error(place + ": abi",
                 "is " + std::to_string(m.abi) +
                     ", which this library cannot call",
                 std::to_string(cpuCodeAbi) + " to " + std::to_string(codeAbi) +
                     "; compile the package again");
  NEST_RT_TRY(reader.expectKeys(
      {"format", "abi", "producer", "target", "cpu", "model", "submodel",
       "parameters", "weight_bytes", "macs_per_token", "further_submodels",
       "code", "device", "files", "weights", "entries", "sha256"}));
  NEST_RT_ASSIGN(m.producer, reader.getString("producer"));
  NEST_RT_ASSIGN(m.target, reader.getString("target"));

  NEST_RT_ASSIGN(JsonReader cpu, reader.get("cpu"));
  NEST_RT_TRY(cpu.expectKeys({"level", "features"}));
  NEST_RT_ASSIGN(m.cpu.level, cpu.getString("level"));
  NEST_RT_ASSIGN(JsonReader features, cpu.get("features"));
  NEST_RT_ASSIGN(m.cpu.features, features.asStringList());

  NEST_RT_ASSIGN(JsonReader model, reader.get("model"));
  NEST_RT_TRY(model.expectKeys({"family", "model_type", "vocab_size",
                                "max_length", "eos_token_ids", "dtype",
                                "num_layers", "modalities", "routes"}));
  NEST_RT_ASSIGN(m.model.family, model.getString("family"));
  NEST_RT_ASSIGN(m.model.modelType, model.getString("model_type"));
  NEST_RT_ASSIGN(m.model.vocabSize, model.getInt("vocab_size", 0, INT32_MAX));
  NEST_RT_ASSIGN(m.model.maxLength, model.getInt("max_length", 0, INT32_MAX));
  NEST_RT_ASSIGN(m.model.numLayers, model.getInt("num_layers", 0, INT32_MAX));
  NEST_RT_ASSIGN(JsonReader eos, model.get("eos_token_ids"));
  NEST_RT_ASSIGN(m.model.eosTokenIds, eos.asIntList(0, INT32_MAX));
  NEST_RT_ASSIGN(JsonReader dtype, model.get("dtype"));
  NEST_RT_ASSIGN(size_t dtypeIndex, dtype.asOneOf({"f32", "bf16", "f16"}));
  (void)dtypeIndex;
  m.model.dtype = dtype.json().asString();
  if (model.has("modalities")) {
    NEST_RT_ASSIGN(JsonReader modalities, model.get("modalities"));
    NEST_RT_TRY(readModalities(modalities, m.model.modalities));
  }
  if (model.has("routes")) {
    NEST_RT_ASSIGN(JsonReader routes, model.get("routes"));
    NEST_RT_TRY(readRoutes(routes, m.model.routes));
  }

  NEST_RT_ASSIGN(JsonReader submodel, reader.get("submodel"));
  NEST_RT_TRY(submodel.expectKeys({"name", "spec", "widths"}));
  NEST_RT_TRY(readSubmodel(submodel, m.submodel));
  NEST_RT_TRY(readFigures(reader, m));
  if (reader.has("further_submodels")) {
    NEST_RT_ASSIGN(JsonReader list, reader.get("further_submodels"));
    NEST_RT_TRY(list.expectArray());
    for (size_t i = 0; i < list.size(); ++i)
      NEST_RT_TRY(readFurther(list.at(i), m.further.emplace_back()));
  }

  NEST_RT_ASSIGN(m.code, readCode(reader, "code"));
  if (reader.has("device")) {
    NEST_RT_ASSIGN(JsonReader device, reader.get("device"));
    NEST_RT_TRY(device.expectKeys({"ptx", "cubin", "kernels"}));
    m.device.emplace();
    NEST_RT_ASSIGN(m.device->ptx, readCode(device, "ptx"));
    if (device.has("cubin")) {
      NEST_RT_ASSIGN(m.device->cubin, readCode(device, "cubin"));
    }
    NEST_RT_ASSIGN(JsonReader kernels, device.get("kernels"));
    NEST_RT_ASSIGN(m.device->kernels, kernels.asStringList());
  }

  NEST_RT_ASSIGN(JsonReader files, reader.get("files"));
  NEST_RT_TRY(files.expectArray());
  for (size_t i = 0; i < files.size(); ++i) {
    JsonReader item = files.at(i);
    NEST_RT_TRY(item.expectKeys({"path", "bytes", "sha256_header"}));
    File file;
    NEST_RT_ASSIGN(file.path, readName(item, "path"));
    NEST_RT_ASSIGN(file.bytes, item.getInt("bytes", 0));
    if (item.has("sha256_header")) {
      NEST_RT_ASSIGN(file.sha256Header, item.getString("sha256_header"));
    }
    m.files.push_back(std::move(file));
  }

  NEST_RT_ASSIGN(JsonReader weights, reader.get("weights"));
  NEST_RT_TRY(weights.expectArray());
  if (weights.size() > maxBuffers)
    return weights.error("has too many elements",
                         "at most " + std::to_string(maxBuffers));
  for (size_t i = 0; i < weights.size(); ++i) {
    JsonReader item = weights.at(i);
    NEST_RT_TRY(item.expectKeys(
        {"name", "file", "offset", "dtype", "shape", "row_stride"}));
    Weight weight;
    NEST_RT_ASSIGN(weight.name, readName(item, "name"));
    NEST_RT_ASSIGN(weight.file, item.getInt("file", 0));
    NEST_RT_ASSIGN(weight.offset, item.getInt("offset", 0));
    NEST_RT_ASSIGN(JsonReader weightType, item.get("dtype"));
    NEST_RT_ASSIGN(weight.dtype, readDType(weightType));
    NEST_RT_ASSIGN(JsonReader shape, item.get("shape"));
    NEST_RT_ASSIGN(weight.shape, shape.asIntList(0, maxManifestDim));
    if (item.has("row_stride")) {
      NEST_RT_ASSIGN(weight.rowStride,
                     item.getInt("row_stride", 0, maxManifestDim));
    }
    if (weight.shape.size() == 2 && weight.rowStride == 0)
      weight.rowStride = weight.shape[1];
    m.weights.push_back(std::move(weight));
  }

  NEST_RT_ASSIGN(JsonReader entries, reader.get("entries"));
  NEST_RT_TRY(entries.expectArray());
  for (size_t i = 0; i < entries.size(); ++i) {
    Entry entry;
    NEST_RT_TRY(readEntry(entries.at(i), entry));
    m.entries.push_back(std::move(entry));
  }
  NEST_RT_TRY(m.validate(place));
  if (reader.has("sha256")) {
    NEST_RT_ASSIGN(std::string digest, reader.getString("sha256"));
    if (digest != m.digest())
      return Error(place + ": sha256", "is not that of the rest",
                   "an unchanged package; compile it again");
  }
  return m;
}

//===----------------------------------------------------------------------===//
// Validation
//===----------------------------------------------------------------------===//

static bool isSha256(const std::string &text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

static bool isIdentifier(const std::string &text) {
  return !text.empty() && text.size() < 512 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
                                "STUVWXYZ0123456789_.$") == std::string::npos;
}

static Status validateWeight(const Manifest &m, const Manifest::Weight &weight,
                             const std::string &at) {
  if (weight.file < 0 || static_cast<size_t>(weight.file) >= m.files.size())
    return Error(at + ".file", "is " + std::to_string(weight.file),
                 "an index below the " + std::to_string(m.files.size()) +
                     " files");
  if (weight.shape.size() > maxManifestRank)
    return Error(at + ".shape",
                 "has rank " + std::to_string(weight.shape.size()),
                 "at most " + std::to_string(maxManifestRank));
  std::optional<uint64_t> bytes = byteCount(weight.dtype, weight.shape);
  if (!bytes)
    return Error(at + ".shape", shapeString(weight.shape) + " is too large",
                 "fewer than 2^63 bytes");
  if (weight.shape.size() == 2) {
    if (weight.stride() < weight.shape[1])
      return Error(at + ".row_stride", "is " + std::to_string(weight.rowStride),
                   "at least the row's " + std::to_string(weight.shape[1]));
    if (!byteCount(weight.dtype, {weight.shape[0], weight.stride()}))
      return Error(at + ".row_stride",
                   "is " + std::to_string(weight.rowStride) +
                       ", which is too large",
                   "fewer than 2^63 bytes");
  } else if (weight.rowStride != 0) {
    return Error(at + ".row_stride",
                 "stands on a weight of rank " +
                     std::to_string(weight.shape.size()),
                 "rank 2 only");
  }
  if (weight.offset < 0 || weight.offset % byteSize(weight.dtype))
    return Error(at + ".offset", "is " + std::to_string(weight.offset),
                 "a multiple of " + std::to_string(byteSize(weight.dtype)));
  int64_t end;
  int64_t size = m.files[static_cast<size_t>(weight.file)].bytes;
  if (__builtin_add_overflow(weight.offset,
                             static_cast<int64_t>(weight.extent()), &end) ||
      end > size)
    return Error(at + ".offset",
                 "the weight " + weight.name + " ends behind its file of " +
                     std::to_string(size) + " bytes",
                 "ranges inside the file");
  return Status::success();
}

/// The code trusts these sizes: tokens index the vocabulary, rows the caches.
static Status validateSizes(const Manifest &m, const Manifest::Entry &entry,
                            const std::string &at) {
  auto isSize = [](const Manifest::Buffer &buffer, size_t dim, int64_t size) {
    return !buffer.shape[dim].isDynamic() && buffer.shape[dim].size == size;
  };
  for (const Manifest::Buffer &buffer : entry.inputs) {
    if (!buffer.cache)
      continue;
    if (m.model.maxLength < 1)
      return Error(at,
                   "has the cache " + buffer.name +
                       ", and the model has no max_length",
                   "1 or more in model.max_length");
    // Keys and values; their positions; how many of them there are.
    size_t rank = buffer.shape.size();
    bool counts = buffer.dtype == DType::I32;
    bool good = counts ? rank == 1 ||
                             (rank == 2 && isSize(buffer, 1, m.model.maxLength))
                       : rank == 4 && isSize(buffer, 2, m.model.maxLength);
    if (!good)
      return Error(at,
                   "the cache " + buffer.name + " has not the max_length " +
                       std::to_string(m.model.maxLength) + " of the model",
                   "[B, heads, max_length, width]; i32 [B, max_length] or [B]");
  }
  // Without tokens and caches there is neither vocabulary nor length.
  if (entry.findInput("tokens") && m.model.vocabSize < 1)
    return Error(at, "takes tokens, and the model has no vocab_size",
                 "1 or more in model.vocab_size");
  // A width bounds what is read of a weight.
  for (const Manifest::Width &width :
       m.submodelAt(m.submodelOf(entry.name)).widths)
    if (const Manifest::Buffer *buffer = entry.findInput(width.axis))
      if (buffer->cache || buffer->dtype != DType::I32 ||
          buffer->shape.size() != 1 || !isSize(*buffer, 0, 1))
        return Error(at, "the width " + width.axis + " is no number",
                     "an input i32 [1]");
  // Values choose rows' weights; only names say which there are.
  if (entry.findInput("modality") &&
      m.modalitiesOf(m.submodelOf(entry.name)).empty())
    return Error(at, "takes a modality, and the model names none",
                 "names in model.modalities");
  if (entry.findInput("tokens"))
    if (const Manifest::Buffer *logits = entry.findOutput("logits"))
      if (logits->shape.empty() ||
          !isSize(*logits, logits->shape.size() - 1, m.model.vocabSize))
        return Error(at,
                     "the logits have not the vocab_size " +
                         std::to_string(m.model.vocabSize) + " of the model",
                     "[B, T, vocab_size]");
  return Status::success();
}

Status Manifest::validateSizes(const std::string &place) const {
  for (const Entry &entry : entries)
    NEST_RT_TRY(::validateSizes(*this, entry, place + ": " + entry.name));
  return Status::success();
}

static Status validateEntry(const Manifest &m, const Manifest::Entry &entry,
                            const std::string &at) {
  if (!isIdentifier(entry.symbol))
    return Error(at + ".symbol", "is \"" + entry.symbol + "\"",
                 "a C identifier");
  if (entry.dims.size() > 8)
    return Error(at + ".dims", "has " + std::to_string(entry.dims.size()),
                 "at most 8 names");
  std::set<std::string> seen;
  for (const std::string &dim : entry.dims)
    if (dim.empty() || !seen.insert(dim).second)
      return Error(at + ".dims", "\"" + dim + "\" is empty or stands twice",
                   "distinct names");
  seen.clear();
  std::vector<bool> bound(entry.dims.size());
  for (bool isInput : {true, false}) {
    const auto &buffers = isInput ? entry.inputs : entry.outputs;
    const char *key = isInput ? ".inputs[" : ".outputs[";
    for (size_t i = 0; i < buffers.size(); ++i) {
      const Manifest::Buffer &buffer = buffers[i];
      std::string here = at + key + std::to_string(i) + "]";
      if (buffer.name.empty() || !seen.insert(buffer.name).second)
        return Error(here + ".name",
                     "\"" + buffer.name + "\" is empty or stands twice",
                     "distinct names");
      if (buffer.shape.size() > maxManifestRank)
        return Error(here + ".shape",
                     "has rank " + std::to_string(buffer.shape.size()),
                     "at most " + std::to_string(maxManifestRank));
      if (!isInput && buffer.cache)
        return Error(here + ".cache", "stands on an output", "inputs only");
      std::vector<int64_t> fixed;
      for (const ManifestDim &dim : buffer.shape) {
        if (dim.isDynamic()) {
          if (static_cast<size_t>(dim.symbol) >= entry.dims.size())
            return Error(here + ".shape", "has a dim the entry lacks",
                         "the entry's dims");
          if (isInput)
            bound[static_cast<size_t>(dim.symbol)] = true;
        } else {
          if (dim.size < 0 || dim.size > maxManifestDim)
            return Error(here + ".shape",
                         "has size " + std::to_string(dim.size),
                         "at most " + std::to_string(maxManifestDim));
          fixed.push_back(dim.size);
        }
      }
      if (!byteCount(buffer.dtype, fixed))
        return Error(here + ".shape", "is too large", "fewer than 2^63 bytes");
    }
  }
  for (size_t i = 0; i < entry.dims.size(); ++i)
    if (!bound[i])
      return Error(at + ".dims", "no input has the dim " + entry.dims[i],
                   "dims that stand in the shape of an input");
  for (int64_t index : entry.weights)
    if (index < 0 || static_cast<size_t>(index) >= m.weights.size())
      return Error(at + ".weights", "has the index " + std::to_string(index),
                   "indices below the " + std::to_string(m.weights.size()) +
                       " weights");
  for (int64_t bytes : {entry.arena.perRow, entry.arena.perSequence,
                        entry.arena.fixed, entry.arena.tickets, entry.scratch})
    if (bytes < 0 || bytes > maxArena)
      return Error(at + ".arena", "has " + std::to_string(bytes) + " bytes",
                   "from 0 to " + std::to_string(maxArena));
  if (m.device && entry.scratch)
    return Error(at + ".scratch", "is " + std::to_string(entry.scratch),
                 "0 for a GPU");
  // Entries share an arena, and find in it what others left.
  int64_t tickets = m.device ? m.entries.front().arena.tickets : 0;
  if (entry.arena.tickets != tickets)
    return Error(at + ".arena.tickets",
                 "is " + std::to_string(entry.arena.tickets),
                 std::to_string(tickets) +
                     (m.device ? ", as in other entries" : " without a GPU"));
  return Status::success();
}

static Status validateModalities(const Manifest::Modalities &modalities,
                                 const std::string &at) {
  std::set<std::string> names;
  for (const std::string &name : modalities.names)
    if (name.empty() || !names.insert(name).second)
      return Error(at + ".names", "\"" + name + "\" is empty or stands twice",
                   "distinct names");
  if (modalities.accepted.empty() && !modalities.empty())
    return Error(at + ".accepted", "is empty", "one value at least");
  int64_t last = -1;
  for (int64_t value : modalities.accepted) {
    if (value <= last || value >= static_cast<int64_t>(names.size()))
      return Error(at + ".accepted", "has " + std::to_string(value),
                   "ascending indices below the " +
                       std::to_string(names.size()) + " names");
    last = value;
  }
  return Status::success();
}

static Status validateCode(const Manifest::Code &code, const std::string &at) {
  if (!isPlainFileName(code.file))
    return Error(at + ".file", "\"" + code.file + "\" is no plain file name",
                 "the name of a file in the package");
  if (!isSha256(code.sha256))
    return Error(at + ".sha256", "is no SHA-256",
                 "64 lower-case hexadecimal digits");
  return Status::success();
}

static Status validateDevice(const Manifest &m, const std::string &at) {
  if (m.device.has_value() != (m.target != "cpu"))
    return Error(at,
                 m.device ? "stands in a package for the CPU" : "is missing",
                 "device code in packages for a GPU only");
  if (!m.device)
    return Status::success();
  NEST_RT_TRY(validateCode(m.device->ptx, at + ".ptx"));
  if (m.device->cubin)
    NEST_RT_TRY(validateCode(*m.device->cubin, at + ".cubin"));
  std::set<std::string> names;
  for (size_t i = 0; i < m.device->kernels.size(); ++i) {
    const std::string &name = m.device->kernels[i];
    if (!isIdentifier(name) || !names.insert(name).second)
      return Error(at + ".kernels[" + std::to_string(i) + "]",
                   "\"" + name + "\" is no name, or stands twice",
                   "distinct names of kernels");
  }
  return Status::success();
}

Status Manifest::validate(const std::string &place) const {
  if (target != "cpu" && !parseGpuTarget(target))
    return Error(place + ": target", "is \"" + target + "\"",
                 "cpu, or sm_80, sm_90a and their like");
  int64_t wantedAbi = target == "cpu" ? cpuCodeAbi : codeAbi;
  if (abi != wantedAbi)
    return Error(place + ": abi",
                 "is " + std::to_string(abi) + " for the target " + target,
                 std::to_string(wantedAbi));
  NEST_RT_TRY(validateCode(code, place + ": code"));
  NEST_RT_TRY(validateDevice(*this, place + ": device"));
  if (effectiveParameters > totalParameters)
    return Error(place + ": parameters.effective",
                 "is " + std::to_string(effectiveParameters),
                 "at most the total of " + std::to_string(totalParameters));
  for (int64_t id : model.eosTokenIds)
    if (id < 0 || id > INT32_MAX)
      return Error(place + ": model.eos_token_ids", "has " + std::to_string(id),
                   "token ids");
  NEST_RT_TRY(
      validateModalities(model.modalities, place + ": model.modalities"));
  std::set<std::string> submodels = {submodel.name};
  for (size_t i = 0; i < further.size(); ++i) {
    const FurtherSubmodel &other = further[i];
    std::string at = place + ": further_submodels[" + std::to_string(i) + "]";
    if (other.submodel.name.empty() ||
        other.submodel.name.find(':') != std::string::npos ||
        !submodels.insert(other.submodel.name).second)
      return Error(at + ".name",
                   "\"" + other.submodel.name +
                       "\" is no name, or stands twice",
                   "distinct names without a colon");
    if (other.effectiveParameters > other.totalParameters)
      return Error(at + ".parameters.effective",
                   "is " + std::to_string(other.effectiveParameters),
                   "at most the total of " +
                       std::to_string(other.totalParameters));
    NEST_RT_TRY(validateModalities(other.modalities, at + ".modalities"));
  }
  for (size_t i = 0; i < files.size(); ++i) {
    const File &file = files[i];
    std::string at = place + ": files[" + std::to_string(i) + "]";
    bool absolute = file.path.size() > 1 && file.path[0] == '/' &&
                    file.path.find('\0') == std::string::npos;
    if (!absolute && !isPlainFileName(file.path))
      return Error(at + ".path",
                   "\"" + file.path +
                       "\" is neither a plain file name nor an absolute path",
                   "a file of the package, or the absolute path of a shard");
    if (file.bytes < 0)
      return Error(at + ".bytes", "is " + std::to_string(file.bytes),
                   "the size of the file");
    if (!file.sha256Header.empty() && !isSha256(file.sha256Header))
      return Error(at + ".sha256_header", "is no SHA-256",
                   "64 lower-case hexadecimal digits");
  }
  for (size_t i = 0; i < weights.size(); ++i)
    NEST_RT_TRY(validateWeight(*this, weights[i],
                               place + ": weights[" + std::to_string(i) + "]"));
  if (entries.empty())
    return Error(place + ": entries", "is empty", "one entry at least");
  std::set<std::string> names;
  for (size_t i = 0; i < entries.size(); ++i) {
    std::string at = place + ": entries[" + std::to_string(i) + "]";
    if (entries[i].name.empty() || !names.insert(entries[i].name).second)
      return Error(at + ".name",
                   "\"" + entries[i].name + "\" is empty or stands twice",
                   "distinct names");
    NEST_RT_TRY(validateEntry(*this, entries[i], at));
  }
  // One cache serves all entries: a name means one type and one shape.
  std::map<std::string, std::pair<const Entry *, const Buffer *>> caches;
  for (const Entry &entry : entries)
    for (const Buffer &buffer : entry.inputs)
      if (buffer.cache)
        caches.emplace(buffer.name, std::make_pair(&entry, &buffer));
  for (const Entry &entry : entries)
    for (const Buffer &buffer : entry.inputs) {
      auto it = caches.find(buffer.name);
      if (it == caches.end())
        continue;
      auto [firstEntry, first] = it->second;
      bool equal = buffer.cache && first->dtype == buffer.dtype &&
                   first->shape.size() == buffer.shape.size();
      for (size_t i = 0; equal && i < buffer.shape.size(); ++i) {
        const ManifestDim &a = buffer.shape[i], &b = first->shape[i];
        equal =
            a.isDynamic() == b.isDynamic() &&
            (a.isDynamic() ? entry.dims[static_cast<size_t>(a.symbol)] ==
                                 firstEntry->dims[static_cast<size_t>(b.symbol)]
                           : a.size == b.size);
      }
      if (!equal)
        return Error(place + ": entries",
                     "the cache " + buffer.name + " differs between " +
                         entry.name + " and " + firstEntry->name,
                     "one type and shape for a cache");
    }
  return validateSizes(place);
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static Json bufferJson(const Manifest::Buffer &buffer,
                       const std::vector<std::string> &dims) {
  Json json = Json::object();
  json.set("name", buffer.name);
  json.set("dtype", name(buffer.dtype));
  Json shape = Json::array();
  for (const ManifestDim &dim : buffer.shape)
    shape.push(dim.isDynamic() ? Json(dims[static_cast<size_t>(dim.symbol)])
                               : Json(dim.size));
  json.set("shape", std::move(shape));
  if (buffer.cache)
    json.set("cache", true);
  return json;
}

static Json codeJson(const Manifest::Code &code) {
  Json json = Json::object();
  json.set("file", code.file);
  json.set("sha256", code.sha256);
  return json;
}

static void setSubmodel(Json &json, const Manifest::Submodel &submodel) {
  json.set("name", submodel.name);
  json.set("spec", submodel.spec);
  if (submodel.widths.empty())
    return;
  Json list = Json::array();
  for (const Manifest::Width &width : submodel.widths) {
    Json item = Json::object();
    item.set("axis", width.axis);
    item.set("low", width.low);
    item.set("high", width.high);
    item.set("size", width.size);
    list.push(std::move(item));
  }
  json.set("widths", std::move(list));
}

static void setModalities(Json &json, const Manifest::Modalities &modalities,
                          const Routes &routes) {
  if (!modalities.empty()) {
    Json item = Json::object();
    item.set("names", Json::arrayOf(modalities.names));
    item.set("accepted", Json::arrayOf(modalities.accepted));
    json.set("modalities", std::move(item));
  }
  if (!routes.empty()) {
    Json item = Json::object();
    for (const auto &[layer, text] : routes)
      item.set(layer, text);
    json.set("routes", std::move(item));
  }
}

template <typename Figures>
static void setFigures(Json &json, const Figures &figures) {
  Json parameters = Json::object();
  parameters.set("total", figures.totalParameters);
  parameters.set("effective", figures.effectiveParameters);
  json.set("parameters", std::move(parameters));
  json.set("weight_bytes", figures.weightBytes);
  json.set("macs_per_token", figures.macsPerToken);
}

std::string Manifest::serialise() const {
  Json json = toJson();
  json.set("sha256", digest());
  return json.str(1) + "\n";
}

std::string Manifest::digest() const { return sha256(toJson().str()); }

Json Manifest::toJson() const {
  Json json = Json::object();
  json.set("format", format);
  json.set("abi", abi);
  json.set("producer", producer);
  json.set("target", target);
  Json cpuJson = Json::object();
  cpuJson.set("level", cpu.level);
  cpuJson.set("features", Json::arrayOf(cpu.features));
  json.set("cpu", std::move(cpuJson));
  Json modelJson = Json::object();
  modelJson.set("family", model.family);
  modelJson.set("model_type", model.modelType);
  modelJson.set("vocab_size", model.vocabSize);
  modelJson.set("max_length", model.maxLength);
  modelJson.set("eos_token_ids", Json::arrayOf(model.eosTokenIds));
  modelJson.set("dtype", model.dtype);
  modelJson.set("num_layers", model.numLayers);
  setModalities(modelJson, model.modalities, model.routes);
  json.set("model", std::move(modelJson));
  Json submodelJson = Json::object();
  setSubmodel(submodelJson, submodel);
  json.set("submodel", std::move(submodelJson));
  setFigures(json, *this);
  if (!further.empty()) {
    Json list = Json::array();
    for (const FurtherSubmodel &other : further) {
      Json item = Json::object();
      setSubmodel(item, other.submodel);
      setFigures(item, other);
      setModalities(item, other.modalities, other.routes);
      list.push(std::move(item));
    }
    json.set("further_submodels", std::move(list));
  }
  json.set("code", codeJson(code));
  if (device) {
    Json deviceJson = Json::object();
    deviceJson.set("ptx", codeJson(device->ptx));
    if (device->cubin)
      deviceJson.set("cubin", codeJson(*device->cubin));
    deviceJson.set("kernels", Json::arrayOf(device->kernels));
    json.set("device", std::move(deviceJson));
  }

  Json filesJson = Json::array();
  for (const File &file : files) {
    Json item = Json::object();
    item.set("path", file.path);
    item.set("bytes", file.bytes);
    if (!file.sha256Header.empty())
      item.set("sha256_header", file.sha256Header);
    filesJson.push(std::move(item));
  }
  json.set("files", std::move(filesJson));

  Json weightsJson = Json::array();
  for (const Weight &weight : weights) {
    Json item = Json::object();
    item.set("name", weight.name);
    item.set("file", weight.file);
    item.set("offset", weight.offset);
    item.set("dtype", nestc::rt::name(weight.dtype));
    item.set("shape", Json::arrayOf(weight.shape));
    if (weight.shape.size() == 2)
      item.set("row_stride", weight.stride());
    weightsJson.push(std::move(item));
  }
  json.set("weights", std::move(weightsJson));

  Json entriesJson = Json::array();
  for (const Entry &entry : entries) {
    Json item = Json::object();
    item.set("name", entry.name);
    item.set("symbol", entry.symbol);
    item.set("dims", Json::arrayOf(entry.dims));
    Json inputs = Json::array(), outputs = Json::array();
    for (const Buffer &buffer : entry.inputs)
      inputs.push(bufferJson(buffer, entry.dims));
    for (const Buffer &buffer : entry.outputs)
      outputs.push(bufferJson(buffer, entry.dims));
    item.set("inputs", std::move(inputs));
    item.set("outputs", std::move(outputs));
    item.set("weights", Json::arrayOf(entry.weights));
    Json arena = Json::object();
    arena.set("per_row", entry.arena.perRow);
    arena.set("per_sequence", entry.arena.perSequence);
    arena.set("fixed", entry.arena.fixed);
    if (entry.arena.tickets)
      arena.set("tickets", entry.arena.tickets);
    item.set("arena", std::move(arena));
    item.set("scratch", entry.scratch);
    entriesJson.push(std::move(item));
  }
  json.set("entries", std::move(entriesJson));
  return json;
}
