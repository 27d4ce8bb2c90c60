//===- Import.cpp - a checkpoint becomes a universal module -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Import.h"

#include "dialect/Nest.h"
#include "lowering/runtime/Files.h"
#include "tools/import/Family.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

static Expected<OwningOpRef<ModuleOp>>
importOrError(MLIRContext &context, const std::string &directory,
              ImportSink sink) {
  if (!isDirectory(directory))
    return Error(directory,
                 fileExists(directory) ? "is no directory" : "is not there",
                 "a checkpoint is a directory with config.json and "
                 "*.safetensors");
  NEST_RT_ASSIGN(Config config, Config::read(directory));
  NEST_RT_ASSIGN(NestJson nest, NestJson::read(directory));
  NEST_RT_ASSIGN(Checkpoint checkpoint, Checkpoint::open(directory));
  ImportInput input{directory, std::move(config), std::move(nest),
                    std::move(checkpoint), sink};
  NEST_RT_ASSIGN(const Family *family, findFamily(input));

  context.loadDialect<nest::NestDialect, arith::ArithDialect, func::FuncDialect,
                      tensor::TensorDialect>();
  OwningOpRef<ModuleOp> module(
      ModuleOp::create(NameLoc::get(StringAttr::get(&context, directory))));
  NEST_RT_TRY(family->build(input, *module));
  NEST_RT_TRY(input.nest.checkSubmodels(AxisTable::get(*module)));
  return module;
}

OwningOpRef<ModuleOp> nestc::importCheckpoint(MLIRContext &context,
                                              StringRef directory,
                                              ImportSink sink) {
  Expected<OwningOpRef<ModuleOp>> module =
      importOrError(context, directory.str(), sink);
  if (module)
    return std::move(*module);
  sink(ImportSeverity::Error, module.error());
  return {};
}
