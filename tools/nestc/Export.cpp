//===- Export.cpp - nestc export ----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Export.h"

#include "dialect/Nest.h"
#include "lowering/package/PackageWriter.h"
#include "tools/import/Family.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Model.h"

using namespace mlir;
using namespace nestc;

static const CommandSpec kSpec = {
    "export",
    "CKPT",
    "write a submodel as a checkpoint of its own",
    {{"-o", "DIR", "the new checkpoint"},
     {"--submodel", "SPEC",
      "what to keep: layers.all.ffn=1/4,skip=3, a name of nest.json, or a "
      ".json file"},
     {"--slices", "FILE.csv",
      "a slicing table; --submodel preset=NAME is its row NAME"}}};

static int run(const Arguments &arguments, const Reporter &reporter) {
  if (int code = checkOnePositional(kSpec, arguments, reporter))
    return code;
  if (!arguments.has("-o"))
    return reporter.fail(
        ExitUsage, {"nestc export", "there is no output", "give it with -o"});
  if (!arguments.has("--submodel"))
    return reporter.fail(ExitUsage,
                         {"nestc export", "there is no submodel",
                          "give it with --submodel; layers.all.ffn=full is all "
                          "of the model"});
  const std::string &path = arguments.positional[0];
  ExportRequest request;
  request.output = arguments.get("-o");
  Model model(reporter);
  if (int code =
          model.checkOutputOutside(path, request.output, replaceableByExport()))
    return code;
  if (int code = model.import(path))
    return code;
  request.table = AxisTable::get(model.module());
  request.all = collectWeights(model.module());
  if (int code = model.specialize(arguments.get("--submodel"),
                                  arguments.get("--slices")))
    return code;
  if (!model.binding.open.empty())
    return reporter.fail(ExitInput, {"--submodel",
                                     "leaves widths open, and a checkpoint "
                                     "has none",
                                     "one width for every layer"});
  request.kept = collectWeights(model.module());
  request.binding = model.binding;
  request.directory = model.checkpoint();
  request.producer = std::string("nestc ") + NESTC_VERSION;
  rt::Manifest facts;
  describeModel(model.module(), facts);
  request.family = findFamily(facts.model.family);

  Progress progress(reporter, "writing weights");
  request.progress = [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  };
  request.warn = [&](const rt::Error &warning) { reporter.warning(warning); };
  if (rt::Status status = exportCheckpoint(request); status.failed())
    return reporter.fail(ExitInput, status.error());
  return ExitDone;
}

const Command nestc::exportCommand = {kSpec, run};
