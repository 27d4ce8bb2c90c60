//===- EntrySymbol.h - names of entries in the code -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CODE_ENTRYSYMBOL_H
#define NESTC_LOWERING_CODE_ENTRYSYMBOL_H

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace nestc::code {

/// The function of an entry: nest_entry_NAME. Of a further submodel, whose name
/// may have what a symbol may not, "my-small:decode" is my$small.decode.
inline std::string entrySymbol(llvm::StringRef entry) {
  std::string symbol = ("nest_entry_" + entry).str();
  llvm::replace(symbol, ':', '.');
  llvm::replace(symbol, '-', '$');
  return symbol;
}

} // namespace nestc::code

#endif // NESTC_LOWERING_CODE_ENTRYSYMBOL_H
