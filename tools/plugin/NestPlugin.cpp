//===- NestPlugin.cpp - nestc for a stock mlir-opt ---------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/Plugin.md says how to use it.
//
//===----------------------------------------------------------------------===//

#include "dialect/Kernel.h"
#include "dialect/Nest.h"
#include "lowering/Passes.h"
#include "passes/Passes.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

// The entry points must stay visible when everything else is hidden.
#define NEST_PLUGIN_ENTRY                                                      \
  extern "C" __attribute__((weak, visibility("default")))

static constexpr char kVersion[] = NESTC_VERSION;

/// Both entry points register the passes, so that either flag is enough for
/// them; registering a pass again would be an error of the host.
static void registerPassesOnce() {
  static const bool done = [] {
    nestc::registerNestPasses();
    nestc::registerLoweringPasses();
    return true;
  }();
  (void)done;
}

NEST_PLUGIN_ENTRY mlir::DialectPluginLibraryInfo mlirGetDialectPluginInfo() {
  return {
      MLIR_PLUGIN_API_VERSION, "nest", kVersion,
      [](mlir::DialectRegistry *registry) {
        registry
            ->insert<nestc::nest::NestDialect, nestc::kernel::KernelDialect>();
        nestc::kernel::registerBufferizationModels(*registry);
        registerPassesOnce();
      }};
}

NEST_PLUGIN_ENTRY mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "nest", kVersion, registerPassesOnce};
}
