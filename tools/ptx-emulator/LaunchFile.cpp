//===- LaunchFile.cpp - the launch file of the command --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/LaunchFile.h"

#include "lowering/runtime/Json.h"
#include "lowering/runtime/Npy.h"
#include "tools/ptx-emulator/TensorMap.h"

#include <cstring>

using namespace nestc;
using namespace nestc::ptx;
using rt::Error;
using rt::Expected;
using rt::JsonReader;
using rt::Status;

template <typename T>
static std::vector<uint8_t> bytesOf(T value) {
  std::vector<uint8_t> bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

static Status readExtent(const JsonReader &root, const char *key,
                         uint32_t (&out)[3]) {
  NEST_RT_ASSIGN(JsonReader reader, root.get(key));
  NEST_RT_ASSIGN(std::vector<int64_t> list, reader.asIntList(1, 0x7fffffff));
  if (list.empty() || list.size() > 3)
    return reader.error(std::to_string(list.size()) + " extents", "1 to 3");
  for (size_t i = 0; i < list.size(); ++i)
    out[i] = list[i];
  return Status::success();
}

/// A path of the file, relative to its folder.
static std::string beside(const std::string &file, const std::string &path) {
  size_t slash = file.rfind('/');
  if (path.empty() || path[0] == '/' || slash == std::string::npos)
    return path;
  return file.substr(0, slash + 1) + path;
}

/// Allocates what a buffer's file holds; `out`, if given, is written later.
static Expected<uint64_t> readBuffer(const JsonReader &reader,
                                     const std::string &path, size_t number,
                                     Device &device, LaunchFile &launch) {
  NEST_RT_ASSIGN(std::string file, reader.getString("buffer"));
  NEST_RT_ASSIGN(rt::NpyArray array, rt::readNpy(beside(path, file)));
  uint64_t bytes = uint64_t(array.count()) * rt::byteSize(array.dtype);
  NEST_RT_ASSIGN(uint64_t address,
                 device.allocate(bytes, true,
                                 "buffer '" + file + "' (argument " +
                                     std::to_string(number) + ")"));
  // An empty allocation is found by nobody, and holds nothing.
  if (bytes)
    std::memcpy(device.find(address)->data, array.data(), bytes);
  if (reader.hasValue("out")) {
    NEST_RT_ASSIGN(std::string out, reader.getString("out"));
    launch.outputs.push_back(
        {beside(path, out), array.dtype, array.shape, address});
  }
  return address;
}

/// A list of up to five numbers, or what is there already.
template <typename T>
static Status readList(const JsonReader &reader, const char *key, size_t first,
                       size_t count, int64_t least, int64_t most, T *out) {
  NEST_RT_ASSIGN(JsonReader list, reader.get(key));
  NEST_RT_ASSIGN(std::vector<int64_t> values, list.asIntList(least, most));
  if (values.size() != count - first)
    return list.error(std::to_string(values.size()) + " numbers",
                      std::to_string(count - first));
  for (size_t i = first; i < count; ++i)
    out[i] = static_cast<T>(values[i - first]);
  return Status::success();
}

/// What cuTensorMapEncodeTiled makes of these arguments.
static Expected<std::vector<uint8_t>>
readTensorMap(const JsonReader &reader, const std::string &path, size_t number,
              Device &device, LaunchFile &launch) {
  NEST_RT_TRY(reader.expectObject());
  NEST_RT_TRY(reader.expectKeys({"buffer", "out", "of", "type", "dims",
                                 "strides", "box", "elementStrides", "swizzle",
                                 "interleave", "oob", "l2"}));
  TensorMap map;
  if (reader.has("of")) {
    NEST_RT_ASSIGN(int64_t other, reader.getInt("of", 0, INT32_MAX));
    if (static_cast<size_t>(other) >= launch.arguments.size() ||
        launch.arguments[other].size() != 8)
      return reader.error("'of' names argument " + std::to_string(other),
                          "a buffer that stands before");
    std::memcpy(&map.address, launch.arguments[other].data(), 8);
  } else {
    NEST_RT_ASSIGN(map.address,
                   readBuffer(reader, path, number, device, launch));
  }
  NEST_RT_ASSIGN(JsonReader type, reader.get("type"));
  NEST_RT_ASSIGN(size_t element, type.asOneOf({std::begin(elementNames),
                                               std::end(elementNames)}));
  map.element = static_cast<TensorMap::Element>(element);
  NEST_RT_ASSIGN(JsonReader dims, reader.get("dims"));
  NEST_RT_ASSIGN(std::vector<int64_t> extents,
                 dims.asIntList(1, int64_t(1) << 32));
  if (extents.empty() || extents.size() > TensorMap::mostRank)
    return dims.error(std::to_string(extents.size()) + " dimensions", "1 to 5");
  map.rank = static_cast<unsigned>(extents.size());
  std::copy(extents.begin(), extents.end(), map.extent);
  if (map.rank > 1)
    NEST_RT_TRY(readList(reader, "strides", 1, map.rank, 0,
                         (int64_t(1) << 40) - 1, map.stride));
  NEST_RT_TRY(readList(reader, "box", 0, map.rank, 1, 256, map.box));
  if (reader.hasValue("elementStrides")) {
    NEST_RT_TRY(
        readList(reader, "elementStrides", 0, map.rank, 1, 8, map.step));
    map.step[0] = 1; // not read without interleaving
  }
  if (reader.hasValue("swizzle")) {
    NEST_RT_ASSIGN(JsonReader swizzle, reader.get("swizzle"));
    NEST_RT_ASSIGN(size_t kind,
                   swizzle.asOneOf({"none", "32B", "64B", "128B"}));
    map.swizzle = static_cast<unsigned>(kind);
  }
  if (reader.hasValue("interleave")) {
    NEST_RT_ASSIGN(std::string kind, reader.getString("interleave"));
    if (kind != "none")
      return reader.error("interleave '" + kind + "' is not supported", "none");
  }
  if (reader.hasValue("oob")) {
    NEST_RT_ASSIGN(JsonReader oob, reader.get("oob"));
    NEST_RT_ASSIGN(size_t kind, oob.asOneOf({"zero", "nan"}));
    map.fillNaN = kind == 1;
  }
  if (Status status = map.check(); status.failed()) {
    Error error = status.takeError();
    return reader.error(error.message, error.legal);
  }
  std::vector<uint8_t> bytes(TensorMap::bytes);
  map.encode(bytes.data());
  return bytes;
}

static Expected<std::vector<uint8_t>>
readArgument(const JsonReader &reader, const std::string &path, size_t number,
             Device &device, LaunchFile &launch) {
  NEST_RT_TRY(reader.expectObject());
  if (reader.has("buffer")) {
    NEST_RT_TRY(reader.expectKeys({"buffer", "out"}));
    NEST_RT_ASSIGN(uint64_t address,
                   readBuffer(reader, path, number, device, launch));
    return bytesOf(address);
  }
  if (reader.has("tensormap")) {
    NEST_RT_TRY(reader.expectKeys({"tensormap"}));
    NEST_RT_ASSIGN(JsonReader map, reader.get("tensormap"));
    return readTensorMap(map, path, number, device, launch);
  }
  if (reader.has("undefined")) {
    // Memory that a kernel has to write before it reads it.
    NEST_RT_TRY(reader.expectKeys({"undefined"}));
    NEST_RT_ASSIGN(int64_t bytes,
                   reader.getInt("undefined", 0, int64_t(1) << 36));
    NEST_RT_ASSIGN(uint64_t address,
                   device.allocate(bytes, false,
                                   "undefined buffer (argument " +
                                       std::to_string(number) + ")"));
    return bytesOf(address);
  }
  if (reader.has("bytes")) {
    // A parameter passed by value, such as a structure.
    NEST_RT_TRY(reader.expectKeys({"bytes"}));
    NEST_RT_ASSIGN(JsonReader list, reader.get("bytes"));
    NEST_RT_ASSIGN(std::vector<int64_t> values, list.asIntList(0, 255));
    return std::vector<uint8_t>(values.begin(), values.end());
  }
  static constexpr struct {
    const char *key;
    int64_t least, most;
    unsigned bytes;
  } integers[] = {{"i8", INT8_MIN, UINT8_MAX, 1},
                  {"i16", INT16_MIN, UINT16_MAX, 2},
                  {"i32", INT32_MIN, UINT32_MAX, 4},
                  {"i64", INT64_MIN, INT64_MAX, 8}};
  for (const auto &row : integers)
    if (reader.has(row.key)) {
      NEST_RT_TRY(reader.expectKeys({row.key}));
      NEST_RT_ASSIGN(int64_t value,
                     reader.getInt(row.key, row.least, row.most));
      std::vector<uint8_t> bytes = bytesOf(value);
      bytes.resize(row.bytes);
      return bytes;
    }
  if (reader.has("f32")) {
    NEST_RT_TRY(reader.expectKeys({"f32"}));
    NEST_RT_ASSIGN(double value, reader.getNumber("f32"));
    return bytesOf(static_cast<float>(value));
  }
  if (reader.has("f64")) {
    NEST_RT_TRY(reader.expectKeys({"f64"}));
    NEST_RT_ASSIGN(double value, reader.getNumber("f64"));
    return bytesOf(value);
  }
  return reader.error("an argument of no known kind",
                      "one of buffer, undefined, tensormap, bytes, i8, i16, "
                      "i32, i64, f32, f64");
}

Expected<LaunchFile> nestc::ptx::readLaunchFile(const std::string &path,
                                                Device &device) {
  NEST_RT_ASSIGN(rt::Json json, rt::readJsonFile(path));
  JsonReader root(json, path);
  NEST_RT_TRY(root.expectObject());
  NEST_RT_TRY(root.expectKeys({"kernel", "grid", "block", "shared", "args"}));
  LaunchFile launch;
  NEST_RT_ASSIGN(launch.kernel, root.getString("kernel"));
  NEST_RT_TRY(readExtent(root, "grid", launch.config.grid));
  NEST_RT_TRY(readExtent(root, "block", launch.config.block));
  NEST_RT_ASSIGN(launch.config.dynamicShared,
                 root.getIntOr("shared", 0, 0, 1 << 20));
  NEST_RT_ASSIGN(JsonReader args, root.get("args"));
  NEST_RT_TRY(args.expectArray());
  for (size_t i = 0; i < args.size(); ++i) {
    NEST_RT_ASSIGN(std::vector<uint8_t> bytes,
                   readArgument(args.at(i), path, i, device, launch));
    launch.arguments.push_back(std::move(bytes));
  }
  return launch;
}

Status nestc::ptx::bindArguments(LaunchFile &launch, const std::string &path,
                                 const Program &program) {
  std::string place = path + ": args";
  if (launch.arguments.size() != program.params.size())
    return Error(place, std::to_string(launch.arguments.size()) + " arguments",
                 "kernel '" + program.name + "' has " +
                     std::to_string(program.params.size()) + " parameters");
  launch.config.params.assign(program.paramBytes, 0);
  for (size_t i = 0; i < program.params.size(); ++i) {
    const ParamPlace &param = program.params[i];
    if (launch.arguments[i].size() != param.variable->bytes)
      return Error(place + "[" + std::to_string(i) + "]",
                   std::to_string(launch.arguments[i].size()) + " bytes",
                   "parameter '" + std::string(param.variable->name) +
                       "' has " + std::to_string(param.variable->bytes));
    std::copy(launch.arguments[i].begin(), launch.arguments[i].end(),
              launch.config.params.begin() + param.offset);
  }
  return Status::success();
}

Status nestc::ptx::writeOutputs(const LaunchFile &launch, Device &device) {
  for (const OutputFile &output : launch.outputs) {
    const Allocation *allocation = device.find(output.address);
    NEST_RT_TRY(rt::writeNpy(output.path, output.dtype, output.shape,
                             allocation ? allocation->data : nullptr));
  }
  return Status::success();
}

std::string nestc::ptx::profileJson(const std::string &kernel,
                                    const Profile &profile, unsigned indent) {
  using rt::Json;
  // Instructions are those of threads, as a profiler's thread_inst_executed.
  uint64_t classes[static_cast<unsigned>(OpClass::Count)] = {};
  Json opcodes = Json::object();
  for (const auto &[name, row] : profile.opcodes) {
    classes[static_cast<unsigned>(row.opClass)] += row.threads;
    Json each = Json::object();
    each.set("warps", row.warps);
    each.set("threads", row.threads);
    opcodes.set(name, each);
  }
  Json instructions = Json::object();
  for (unsigned i = 0; i < static_cast<unsigned>(OpClass::Count); ++i)
    if (classes[i])
      instructions.set(className(static_cast<OpClass>(i)), classes[i]);
  instructions.set("total", profile.threadInstructions);
  Json json = Json::object();
  json.set("kernel", kernel);
  json.set("instructions", instructions);
  json.set("warp_instructions", profile.warpInstructions);
  json.set("opcodes", opcodes);
  auto total = [](const uint64_t (&ways)[2]) { return ways[0] + ways[1]; };
  json.set("global_bytes", total(profile.globalBytes));
  json.set("global_sectors", total(profile.globalSectors));
  json.set("local_bytes", total(profile.localBytes));
  json.set("local_sectors", total(profile.localSectors));
  json.set("shared_bytes", total(profile.sharedBytes));
  Json parts[2] = {Json::object(), Json::object()}; // loads, stores
  for (unsigned way = 0; way < 2; ++way) {
    parts[way].set("global_bytes", profile.globalBytes[way]);
    parts[way].set("global_sectors", profile.globalSectors[way]);
    parts[way].set("local_bytes", profile.localBytes[way]);
    parts[way].set("local_sectors", profile.localSectors[way]);
    parts[way].set("shared_bytes", profile.sharedBytes[way]);
  }
  json.set("loads", parts[0]);
  json.set("stores", parts[1]);
  json.set("shared_passes", profile.sharedPasses);
  json.set("bank_conflicts", profile.bankConflicts);
  json.set("mma_flops", profile.mmaFlops);
  json.set("barriers", profile.barriers);
  return json.str(indent);
}
