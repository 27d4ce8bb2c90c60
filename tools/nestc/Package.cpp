//===- Package.cpp - a loaded package -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Package.h"

#include "passes/Submodel.h"

#include <map>

using namespace nestc;
using llvm::StringRef;

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

int nestc::readWidths(const rt::Json &info, const rt::Json *submodel,
                      const std::vector<std::string> &texts,
                      const Reporter &reporter, Widths &widths) {
  // The axes that are open, as those of a model.
  AxisTable table;
  const rt::Json *own = submodel ? submodel : info.find("submodel");
  const rt::Json *list = own ? own->find("widths") : nullptr;
  std::string names;
  struct Range {
    int64_t low, high;
  };
  std::map<std::string, Range> ranges;
  for (const rt::Json &width : list ? list->elements() : info.elements()) {
    std::string axis = width.find("axis")->asString();
    StringRef number = StringRef(axis).drop_front(StringRef("layers.").size());
    int64_t layer = -1;
    (void)number.consumeInteger(10, layer);
    table.numLayers = std::max(table.numLayers, layer + 1);
    table.axes[axis] = {width.find("size")->asInt(), {}};
    ranges[axis] = {width.find("low")->asInt(), width.find("high")->asInt()};
    names += (names.empty() ? "" : ", ") + axis;
  }
  if (const rt::Json *model = info.find("model"))
    table.numLayers =
        std::max(table.numLayers, model->find("num_layers")->asInt());
  for (const std::string &text : texts) {
    SubmodelError error;
    auto refuse = [&](ExitCode code, const rt::Error &error) {
      return reporter.fail(code, error);
    };
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
    if (!spec || text.empty())
      return refuse(text.empty() || error.kind == SubmodelError::Kind::Syntax
                        ? ExitUsage
                        : ExitInput,
                    {"--bind " + error.place, error.message, error.legal});
    for (const SubmodelSpec::Entry &entry : spec->entries) {
      std::string place = "--bind " + entry.text;
      if (entry.key != SubmodelSpec::Entry::Key::Width || entry.low)
        return refuse(ExitUsage, {place, "binds no width",
                                  "legal is layers.SEL.ffn=VALUE"});
      auto layers = entry.layers.resolve(table.numLayers, place, error);
      if (!layers)
        return refuse(ExitInput, {error.place, error.message, error.legal});
      for (int64_t layer : *layers) {
        std::string axis = AxisTable::name(layer, entry.kind);
        auto range = ranges.find(axis);
        if (range == ranges.end() && !entry.layers.isListed() && !names.empty())
          continue; // of all, those that are open
        if (range == ranges.end())
          return refuse(ExitInput,
                        {place, "the package does not leave " + axis + " open",
                         names.empty()
                             ? "all widths were fixed when it was compiled"
                             : "open are " + names});
        std::optional<int64_t> width =
            entry.value.resolve(table.axes[axis].size, 1, place, error);
        if (!width)
          return refuse(ExitInput, {error.place, error.message, error.legal});
        rt::Manifest::Width bounds = {axis, range->second.low,
                                      range->second.high, 0};
        if (rt::Status status = bounds.check(*width); status.failed())
          return refuse(ExitInput,
                        {place, status.error().message, status.error().legal});
        widths.push_back({axis, *width});
      }
    }
  }
  return ExitDone;
}

int nestc::bindWidths(nest_session *session, const Widths &widths,
                      const Reporter &reporter) {
  for (const auto &[axis, width] : widths)
    if (nest_status status = nest_session_bind(session, axis.c_str(), width))
      return failRuntime(status, reporter);
  return ExitDone;
}
