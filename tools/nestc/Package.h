//===- Package.h - a loaded package, for run and bench ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_PACKAGE_H
#define NESTC_TOOLS_NESTC_PACKAGE_H

#include "lowering/runtime/Manifest.h"
#include "tools/nestc/CommandLine.h"

#include "nest/runtime.h"

#include <memory>

namespace nestc {

struct PackageDeleter {
  void operator()(nest_package *package) const { nest_package_free(package); }
};
struct SessionDeleter {
  void operator()(nest_session *session) const { nest_session_free(session); }
};
using PackagePtr = std::unique_ptr<nest_package, PackageDeleter>;
using SessionPtr = std::unique_ptr<nest_session, SessionDeleter>;

/// Reports the runtime's last error, at `place` where the runtime knows less;
/// returns the exit code for `status`.
int failRuntime(nest_status status, const Reporter &reporter,
                const char *place = "");

/// Loads a package, with `emulate` one for a GPU that is emulated; reports and
/// sets `code` on failure.
PackagePtr loadPackage(const std::string &path, bool emulate,
                       const Reporter &reporter, int &code);

/// A session of `batch` sequences with room for `rows` rows each; `prefill` is
/// one of NEST_PREFILL_*. `submodel` is empty for the first.
SessionPtr makeSession(const nest_package *package, const std::string &submodel,
                       int64_t batch, int64_t rows, int64_t threads,
                       int32_t prefill, const Reporter &reporter, int &code);

/// What `info`, a package's nest_package_info_json, has of the submodel that an
/// option names; nothing for the first one, which the option may name or not.
/// An unknown name is reported, and sets `code`.
const rt::Json *findSubmodel(const rt::Json &info, const std::string &name,
                             const Reporter &reporter, int &code);

/// Widths that calls bind, by axis.
using Widths = std::vector<std::pair<std::string, int64_t>>;

/// Reads texts of --bind against the widths that the submodel (as
/// findSubmodel() gave it) leaves open; reports what is wrong.
int readWidths(const rt::Json &info, const rt::Json *submodel,
               const std::vector<std::string> &texts, const Reporter &reporter,
               Widths &widths);

/// Binds them.
int bindWidths(nest_session *session, const Widths &widths,
               const Reporter &reporter);

/// The modalities of a submodel of a package: what `model` of its info, or
/// findSubmodel(), has of them.
rt::Manifest::Modalities readModalities(const rt::Json *model);

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_PACKAGE_H
