//===- ptx-emulator.cpp - the ptx-emulator command ------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Files.h"
#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/LaunchFile.h"
#include "tools/ptx-emulator/Parser.h"

#include <cstdio>
#include <cstring>

using namespace nestc;
using namespace nestc::ptx;

static constexpr const char *usage =
    R"(Runs one kernel of a PTX text on the CPU, stricter than a GPU.

usage: ptx-emulator FILE.ptx --launch FILE.json [options]
       ptx-emulator FILE.ptx --check

  --launch FILE        kernel, grid, block, shared bytes, arguments
  --schedule S         round-robin (the default), reverse, random:SEED
  --profile            print what the kernel executed and moved, as JSON
  --check-global-races look for races in global memory as well (one core)
  --max-steps N        stop a block whose warps execute more than N operations
  --threads N          cores to use (all)
  --check              take every kernel of the text apart, run nothing
  --version, --help

Exit codes: 0 done, 1 a fault of the kernel or bad input, 2 bad usage.
)";

namespace {
struct Options {
  std::string file, launch;
  Schedule schedule;
  bool profile = false, globalRaces = false, check = false;
  uint64_t maxSteps = 0;
  unsigned threads = 0;
};
} // namespace

static int misuse(const std::string &what) {
  std::fprintf(stderr, "error: %s; see ptx-emulator --help\n", what.c_str());
  return 2;
}

static int fail(const std::string &what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  return 1;
}

/// A positive number, or nothing.
static std::optional<uint64_t> parseCount(const char *text) {
  uint64_t value = 0;
  if (!*text)
    return std::nullopt;
  for (; *text; ++text) {
    if (*text < '0' || *text > '9' || value > UINT64_MAX / 16)
      return std::nullopt;
    value = value * 10 + (*text - '0');
  }
  return value;
}

static int run(const Options &options) {
  rt::Expected<std::string> text = rt::readFile(options.file, 64 << 20);
  if (text.failed())
    return fail(text.error().str());
  Device device;
  auto parsed = parse(std::move(*text), options.file);
  if (parsed.failed())
    return fail(parsed.error().str());
  auto module = load(device, std::move(*parsed));
  if (module.failed())
    return fail(module.error().str());
  if (options.check) {
    for (const Function &f : module->module->functions) {
      if (!f.isEntry || !f.isDefined)
        continue;
      auto program = decode(*module, f.name);
      if (program.failed())
        return fail(program.error().str());
      std::printf("%s: %zu operations, %u bytes of shared memory, %u of local "
                  "memory per thread\n",
                  program->name.c_str(), program->ops.size(),
                  program->sharedBytes, program->localBytes);
    }
    return 0;
  }
  auto file = readLaunchFile(options.launch, device);
  if (file.failed())
    return fail(file.error().str());
  auto program = decode(*module, file->kernel);
  if (program.failed())
    return fail(program.error().str());
  if (rt::Status status = bindArguments(*file, options.launch, *program);
      status.failed())
    return fail(status.error().str());
  LaunchConfig &config = file->config;
  config.schedule = options.schedule;
  config.profile = options.profile;
  config.globalRaces = options.globalRaces;
  config.maxSteps = options.maxSteps;
  config.threads = options.threads;
  auto result = launch(device, *program, config);
  if (result.failed())
    return fail(result.error().str());
  if (result->fault)
    return fail(result->fault->str());
  if (rt::Status status = writeOutputs(*file, device); status.failed())
    return fail(status.error().str());
  if (options.profile)
    std::printf("%s\n", profileJson(file->kernel, result->profile).c_str());
  return 0;
}

int main(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    std::string value;
    bool hasValue = false;
    if (size_t equals = arg.find('=');
        arg.substr(0, 2) == "--" && equals != std::string_view::npos) {
      value = arg.substr(equals + 1);
      arg = arg.substr(0, equals);
      hasValue = true;
    }
    bool takesValue = arg == "--launch" || arg == "--schedule" ||
                      arg == "--max-steps" || arg == "--threads";
    if (takesValue && !hasValue) {
      if (++i == argc)
        return misuse(std::string(arg) + " needs a value");
      value = argv[i];
    }
    if (!takesValue && hasValue)
      return misuse(std::string(arg) + " takes no value");
    if (arg == "--help") {
      std::fputs(usage, stdout);
      return 0;
    }
    if (arg == "--version") {
      std::printf("ptx-emulator %s\n", NESTC_VERSION);
      return 0;
    }
    if (arg == "--launch") {
      options.launch = value;
    } else if (arg == "--schedule") {
      std::optional<Schedule> schedule = scheduleFromText(value);
      if (!schedule)
        return misuse("schedule '" + value +
                      "' is not round-robin, reverse or random:SEED");
      options.schedule = *schedule;
    } else if (arg == "--max-steps" || arg == "--threads") {
      std::optional<uint64_t> count = parseCount(value.c_str());
      if (!count || !*count)
        return misuse(std::string(arg) + " needs a positive number");
      if (arg == "--threads")
        options.threads = std::min<uint64_t>(*count, 256);
      else
        options.maxSteps = *count;
    } else if (arg == "--profile") {
      options.profile = true;
    } else if (arg == "--check-global-races") {
      options.globalRaces = true;
    } else if (arg == "--check") {
      options.check = true;
    } else if (arg.size() > 1 && arg[0] == '-') {
      return misuse("unknown option '" + std::string(arg) + "'");
    } else if (options.file.empty()) {
      options.file = arg;
    } else {
      return misuse("more than one file");
    }
  }
  if (options.file.empty())
    return misuse("the PTX file is missing");
  if (options.launch.empty() && !options.check)
    return misuse("--launch FILE.json is missing");
  return run(options);
}
