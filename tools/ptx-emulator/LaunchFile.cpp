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

static Expected<std::vector<uint8_t>>
readArgument(const JsonReader &reader, const std::string &path, size_t number,
             Device &device, LaunchFile &launch) {
  NEST_RT_TRY(reader.expectObject());
  if (reader.has("buffer")) {
    NEST_RT_TRY(reader.expectKeys({"buffer", "out"}));
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
    return bytesOf(address);
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
                      "one of buffer, undefined, bytes, i8, i16, i32, i64, "
                      "f32, f64");
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
