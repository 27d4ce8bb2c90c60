//===- Package.cpp - a loaded package -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Package.h"

using namespace nestc;

int nestc::failRuntime(nest_status status, const Reporter &reporter,
                       const char *place) {
  return reporter.fail(status == NEST_ERROR_INTERNAL ? ExitDefect : ExitInput,
                       {*place ? place : nest_last_error_place(),
                        nest_last_error_message(), nest_last_error_legal()});
}

PackagePtr nestc::loadPackage(const std::string &path, bool emulate,
                              const Reporter &reporter, int &code) {
  nest_package *package = nullptr;
  nest_load_options options = {};
  options.size = sizeof(options);
  options.emulate = emulate;
  if (nest_status status =
          nest_package_load_with(path.c_str(), &options, &package)) {
    code = failRuntime(status, reporter);
    return nullptr;
  }
  return PackagePtr(package);
}

SessionPtr nestc::makeSession(const nest_package *package,
                              const std::string &submodel, int64_t batch,
                              int64_t rows, int64_t threads, int32_t prefill,
                              const Reporter &reporter, int &code) {
  nest_session_options options = {};
  options.size = sizeof(options);
  options.batch = batch;
  options.max_length = rows;
  options.threads = static_cast<int32_t>(threads);
  options.prefill = prefill;
  options.submodel = submodel.c_str();
  nest_session *session = nullptr;
  if (nest_status status = nest_session_create(package, &options, &session)) {
    code = failRuntime(status, reporter);
    return nullptr;
  }
  return SessionPtr(session);
}

const rt::Json *nestc::findSubmodel(const rt::Json &info,
                                    const std::string &name,
                                    const Reporter &reporter, int &code) {
  code = ExitDone;
  std::vector<std::string> names;
  auto nameOf = [](const rt::Json *submodel) {
    const rt::Json *found = submodel ? submodel->find("name") : nullptr;
    return found ? found->asString() : std::string();
  };
  names.push_back(nameOf(info.find("submodel")));
  if (name.empty() || name == names.front())
    return nullptr;
  if (const rt::Json *further = info.find("further_submodels"))
    for (const rt::Json &submodel : further->elements()) {
      names.push_back(nameOf(&submodel));
      if (names.back() == name)
        return &submodel;
    }
  code = reporter.fail(
      ExitInput, {"--submodel", "the package holds no submodel '" + name + "'",
                  rt::legalNames(name, names)});
  return nullptr;
}

rt::Manifest::Modalities nestc::readModalities(const rt::Json *model) {
  rt::Manifest::Modalities modalities;
  const rt::Json *found = model ? model->find("modalities") : nullptr;
  if (!found)
    return modalities;
  if (const rt::Json *names = found->find("names"))
    for (const rt::Json &name : names->elements())
      modalities.names.push_back(name.asString());
  if (const rt::Json *accepted = found->find("accepted"))
    for (const rt::Json &value : accepted->elements())
      modalities.accepted.push_back(value.asInt());
  return modalities;
}
