//===- NestBase.td - the nest dialect -*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NEST_BASE_TD
#define NEST_BASE_TD

include "mlir/IR/DialectBase.td"

def Nest_Dialect : Dialect {
  let name = "nest";
  let cppNamespace = "::nestc::nest";
  let summary = "Transformers whose compute is conditional";
  let description = [{
    Graph-level operations on tensors. A tensor dimension that is a prefix of
    something larger lies on a named axis (`#nest.on`), a weight is a symbol
    that names stored data, and a width enters a program at `nest.get` only.
    docs/Spec.md defines every operation and numbers its constraints.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    void registerTypes();
  }];
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect",
                           "::mlir::tensor::TensorDialect"];
}

#endif // NEST_BASE_TD
