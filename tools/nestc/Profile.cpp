//===- Profile.cpp - what emulated kernels did ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Profile.h"
#include "lowering/runtime/Json.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace nestc;

static constexpr const char *kVariable = "NEST_PTX_PROFILE";

LaunchProfile::LaunchProfile(LaunchProfile &&other) noexcept
    : path(std::move(other.path)), begin(other.begin),
      temporary(std::exchange(other.temporary, false)) {}

LaunchProfile::~LaunchProfile() {
  if (temporary)
    (void)std::remove(path.c_str());
}

rt::Expected<LaunchProfile> LaunchProfile::start() {
  LaunchProfile profile;
  if (const char *given = std::getenv(kVariable); given && *given) {
    profile.path = given;
    std::ifstream file(profile.path, std::ios::ate | std::ios::binary);
    profile.begin = file ? static_cast<int64_t>(file.tellg()) : 0;
    return profile;
  }
  const char *directory = std::getenv("TMPDIR");
  profile.path = std::string(directory && *directory ? directory : "/tmp") +
                 "/nestc-profile-XXXXXX";
  int file = ::mkstemp(&profile.path[0]);
  if (file < 0)
    return rt::Error(profile.path,
                     std::string("cannot be made: ") + std::strerror(errno),
                     "a TMPDIR that can be written");
  ::close(file);
  profile.temporary = true;
  ::setenv(kVariable, profile.path.c_str(), 1);
  return profile;
}

namespace {
/// One row of the table.
struct Sums {
  std::string kernel;
  int64_t launches = 0;
  /// As kKeys has them.
  int64_t values[4] = {};
};
} // namespace

static constexpr const char *kKeys[] = {"instructions", "global_bytes",
                                        "shared_bytes", "bank_conflicts"};

rt::Expected<std::string> LaunchProfile::table() const {
  std::map<std::string, Sums> kernels;
  Sums all;
  all.kernel = "all";
  std::ifstream file(path, std::ios::binary);
  file.seekg(begin);
  std::string line;
  while (std::getline(file, line)) {
    rt::Expected<rt::Json> json = rt::parseJson(line, path);
    if (!json)
      return json.takeError();
    const rt::Json *name = json->find("kernel");
    if (!name || !name->isString())
      return rt::Error(path, "has a line without a kernel",
                       "what libnest-ptx writes");
    Sums &row = kernels[name->asString()];
    row.kernel = name->asString();
    for (Sums *sums : {&row, &all}) {
      ++sums->launches;
      for (unsigned i = 0; i < 4; ++i) {
        const rt::Json *value = json->find(kKeys[i]);
        if (value && value->isObject()) // by class, and in total
          value = value->find("total");
        sums->values[i] += value && value->isInt() ? value->asInt() : 0;
      }
    }
  }
  std::vector<Sums> rows;
  rows.reserve(kernels.size() + 1);
  for (auto &[name, row] : kernels)
    rows.push_back(row);
  std::sort(rows.begin(), rows.end(), [](const Sums &a, const Sums &b) {
    return a.values[0] != b.values[0] ? a.values[0] > b.values[0]
                                      : a.kernel < b.kernel;
  });
  rows.push_back(all);

  size_t width = 6;
  for (const Sums &row : rows)
    width = std::max(width, row.kernel.size());
  std::string text;
  auto add = [&](const std::string &first,
                 const std::vector<std::string> &rest) {
    text += first + std::string(width - first.size(), ' ');
    for (const std::string &each : rest)
      text += std::string(16 - std::min<size_t>(15, each.size()), ' ') + each;
    text += "\n";
  };
  add("kernel", {"launches", "instructions", "global bytes", "shared bytes",
                 "bank conflicts"});
  for (const Sums &row : rows) {
    std::vector<std::string> cells = {std::to_string(row.launches)};
    for (int64_t value : row.values)
      cells.push_back(std::to_string(value));
    add(row.kernel, cells);
  }
  return text;
}
