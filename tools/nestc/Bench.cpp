//===- Bench.cpp - nestc bench ------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Json.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Package.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>

using namespace nestc;

static const CommandSpec kSpec = {
    "bench",
    "PKG",
    "time prefill and decode of a package",
    {{"--prefill", "T", "rows of the prefill (default 128)"},
     {"--decode", "N", "tokens decoded behind it (default 32)"},
     {"--threads", "N", "threads (default: all cores)"},
     {"--submodel", "NAME", "a submodel of the package (default: the first)"},
     {"--bind", "SPEC", "widths that are open: layers.all.ffn=1/4",
      /*repeated=*/true},
     {"--json", "", "as one JSON object"},
     {"--emulate", "", "a package for a GPU, on the PTX emulator (slow)"}}};

/// Runs of each measurement; the median is reported.
static constexpr int kRuns = 5;

static double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

static int run(const Arguments &arguments, const Reporter &reporter) {
  int code = ExitUsage;
  if (int failed = checkOnePositional(kSpec, arguments, reporter))
    return failed;
  PackagePtr package = loadPackage(arguments.positional[0],
                                   arguments.has("--emulate"), reporter, code);
  if (!package)
    return code;
  int64_t maxLength = nest_package_max_length(package.get());
  int64_t prefill = std::min<int64_t>(128, maxLength);
  int64_t decode = std::min<int64_t>(32, maxLength - prefill), threads = 0;
  auto number = [&](const char *option, int64_t low, int64_t high,
                    int64_t &value) {
    if (!arguments.has(option))
      return true;
    std::optional<int64_t> parsed =
        parseInteger(option, arguments.get(option), low, high, reporter, code);
    if (parsed)
      value = *parsed;
    return parsed.has_value();
  };
  if (!number("--prefill", 1, maxLength, prefill))
    return code;
  decode = std::min(decode, maxLength - prefill);
  if (!number("--decode", 0, maxLength - prefill, decode) ||
      !number("--threads", 1, 1024, threads))
    return code;

  int64_t vocab = nest_package_vocab_size(package.get());
  rt::Expected<rt::Json> info =
      rt::parseJson(nest_package_info_json(package.get()), "package");
  if (!info)
    return reporter.fail(ExitDefect, info.error());
  std::string name = arguments.get("--submodel");
  const rt::Json *submodel = findSubmodel(*info, name, reporter, code);
  if (code)
    return code;
  SessionPtr session =
      makeSession(package.get(), name, 1, prefill + decode, threads,
                  NEST_PREFILL_SELECT, reporter, code);
  if (!session)
    return code;
  Widths widths;
  if (int failed = readWidths(*info, submodel, arguments.getAll("--bind"),
                              reporter, widths))
    return failed;
  if (int failed = bindWidths(session.get(), widths, reporter))
    return failed;
  // The same random modalities in every run.
  rt::Manifest::Modalities modalities =
      readModalities(submodel ? submodel : info->find("model"));
  std::vector<int32_t> modality;
  if (!modalities.empty()) {
    std::mt19937 random(0); // NOLINT(bugprone-random-generator-seed)
    for (int64_t i = 0; i < prefill + decode; ++i)
      modality.push_back(static_cast<int32_t>(
          modalities.accepted[random() % modalities.accepted.size()]));
  }
  auto setModality = [&](int64_t first, int64_t count) {
    return modality.empty()
               ? NEST_OK
               : nest_session_set_modality(session.get(),
                                           modality.data() + first, count);
  };
  std::vector<int32_t> tokens(prefill);
  for (int64_t i = 0; i < prefill; ++i)
    tokens[i] = static_cast<int32_t>(i * 7919 % vocab);

  using Clock = std::chrono::steady_clock;
  auto seconds = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  std::vector<double> prefillTimes, decodeTimes;
  std::optional<Progress> progress(std::in_place, reporter, "measuring");
  // The first run warms caches and pages and does not count.
  for (int i = 0; i <= kRuns; ++i) {
    nest_session_reset(session.get());
    if (nest_status status = setModality(0, prefill))
      return failRuntime(status, reporter);
    Clock::time_point start = Clock::now();
    int32_t token = 0;
    if (nest_status status =
            nest_session_next(session.get(), tokens.data(), prefill, &token))
      return failRuntime(status, reporter);
    double prefillTime = seconds(start);
    start = Clock::now();
    for (int64_t step = 0; step < decode; ++step) {
      if (nest_status status = setModality(prefill + step, 1))
        return failRuntime(status, reporter);
      int32_t last = token;
      if (nest_status status =
              nest_session_next(session.get(), &last, 1, &token))
        return failRuntime(status, reporter);
    }
    progress->update(i + 1, kRuns + 1);
    if (i == 0)
      continue;
    prefillTimes.push_back(prefillTime);
    if (decode > 0)
      decodeTimes.push_back(seconds(start) / decode);
  }

  progress.reset(); // before anything is printed
  double prefillTime = median(prefillTimes);
  double decodeTime = decode > 0 ? median(decodeTimes) : 0;
  if (arguments.has("--json")) {
    rt::Json json = rt::Json::object();
    json.set("prefill_tokens", prefill);
    json.set("prefill_seconds", prefillTime);
    json.set("decode_tokens", decode);
    json.set("decode_seconds_per_token", decodeTime);
    json.set("runs", kRuns);
    std::printf("%s\n", json.str(1).c_str());
    return ExitDone;
  }
  std::printf("prefill %lld tokens: %.2f ms, %.0f tokens/s\n",
              static_cast<long long>(prefill), prefillTime * 1e3,
              prefill / prefillTime);
  if (decode > 0)
    std::printf("decode: %.3f ms per token, %.0f tokens/s\n", decodeTime * 1e3,
                1 / decodeTime);
  return ExitDone;
}

const Command nestc::benchCommand = {kSpec, run};
