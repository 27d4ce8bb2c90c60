//===- NestVerify.cpp - axes, modules and entries -----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What no single operation can verify: that axes are declared, who may touch a
// value on an axis, and the discardable attributes of modules and entries.
// Numbers in brackets are the constraints of docs/Spec.md.
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace nestc::nest;

//===----------------------------------------------------------------------===//
// Types on an axis
//===----------------------------------------------------------------------===//

namespace {
using EmitError = function_ref<InFlightDiagnostic()>;

/// What a type has to do with axes.
enum class AxisUse { None, On, Invalid };

/// [C2], [C10]-[C12] for one type.
AxisUse checkType(EmitError emitError, Type type, Operation *table,
                  SymbolTableCollection &symbols) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto on = tensor ? dyn_cast_or_null<OnAttr>(tensor.getEncoding()) : OnAttr();
  if (!on) {
    // Scalars and plain tensors, nearly always.
    if (isa<IndexType, IntegerType, FloatType>(type) ||
        (tensor && !tensor.getEncoding()))
      return AxisUse::None;
    bool hidden = type.walk([](OnAttr) { return WalkResult::interrupt(); })
                      .wasInterrupted();
    if (!hidden)
      return AxisUse::None;
    emitError() << "[C12] an axis inside " << type
                << "; #nest.on is legal as a tensor's own encoding only";
    return AxisUse::Invalid;
  }
  // Bytecode builds types without asking their encoding.
  if (failed(on.verifyEncoding(tensor.getShape(), tensor.getElementType(),
                               emitError)))
    return AxisUse::Invalid;
  for (int64_t dim = 0; dim < tensor.getRank(); ++dim) {
    if (!on.isOn(dim))
      continue;
    StringAttr name = on.getAxes()[dim];
    auto axis = dyn_cast_or_null<AxisOp>(symbols.lookupSymbolIn(table, name));
    if (!axis) {
      emitError() << "[C10] there is no axis '" << name.getValue()
                  << "'; declare it beside the function with nest.axis";
      return AxisUse::Invalid;
    }
    int64_t full = 0;
    bool overflow = llvm::MulOverflow(static_cast<int64_t>(axis.getSize()),
                                      on.getInner()[dim], full);
    if (tensor.isDynamicDim(dim))
      continue;
    if (overflow || tensor.getDimSize(dim) != full) {
      InFlightDiagnostic diag = emitError();
      diag << "[C11] dimension " << dim << " of " << type << " has size "
           << tensor.getDimSize(dim) << "; on axis '" << name.getValue()
           << "' it is " << axis.getSize() << " * " << on.getInner()[dim]
           << ", or ? for a width bound at run time";
      diag.attachNote(axis.getLoc()) << "the axis is declared here";
      return AxisUse::Invalid;
    }
  }
  return AxisUse::On;
}

/// Calls `visit` with the type of every operand, result and block argument, and
/// with those in a function's signature or a weight; stops at the first
/// failure.
LogicalResult forEachType(Operation *op,
                          function_ref<LogicalResult(Type)> visit) {
  for (Type type : op->getOperandTypes())
    if (failed(visit(type)))
      return failure();
  for (Type type : op->getResultTypes())
    if (failed(visit(type)))
      return failure();
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (BlockArgument argument : block.getArguments())
        if (failed(visit(argument.getType())))
          return failure();
  if (auto weight = dyn_cast<WeightOp>(op))
    return visit(weight.getType());
  if (auto function = dyn_cast<func::FuncOp>(op))
    if (TypeAttr attr = function.getFunctionTypeAttr())
      if (auto signature = dyn_cast<FunctionType>(attr.getValue())) {
        for (Type type : signature.getInputs())
          if (failed(visit(type)))
            return failure();
        for (Type type : signature.getResults())
          if (failed(visit(type)))
            return failure();
      }
  return success();
}

bool isElementwise(Operation *op) {
  return isa_and_nonnull<arith::ArithDialect, math::MathDialect>(
             op->getDialect()) &&
         op->hasTrait<OpTrait::Elementwise>();
}

/// The first axis that a type of `op` names.
StringRef firstAxis(Operation *op) {
  StringRef name;
  (void)forEachType(op, [&](Type type) -> LogicalResult {
    if (OnAttr on = getOn(type))
      for (StringAttr axis : on.getAxes())
        if (!axis.empty()) {
          name = axis.getValue();
          return failure();
        }
    return success();
  });
  return name;
}

/// [C14], [C15] for an operation one of whose types lies on an axis.
LogicalResult checkUser(Operation *op) {
  if (isElementwise(op)) {
    Attribute encoding;
    bool first = true, same = true;
    (void)forEachType(op, [&](Type type) {
      if (auto tensor = dyn_cast<RankedTensorType>(type)) {
        same &= first || tensor.getEncoding() == encoding;
        encoding = tensor.getEncoding();
        first = false;
      }
      return success();
    });
    if (!same)
      return op->emitOpError("[C15] takes and gives tensors on different axes; "
                             "an elementwise operation keeps every axis");
    return success();
  }
  if (isa_and_nonnull<NestDialect, func::FuncDialect, scf::SCFDialect>(
          op->getDialect()))
    return success();
  return op->emitOpError("[C14] may not touch a value on axis '")
         << firstAxis(op)
         << "'; legal are nest, func and scf operations and elementwise arith "
            "and math operations; others go behind nest-drop-axes";
}
} // namespace

LogicalResult nestc::nest::verifyAxesOf(Operation *op,
                                        SymbolTableCollection &symbols) {
  Operation *table = SymbolTable::getNearestSymbolTable(op);
  if (!table)
    return success();
  auto emitError = [&] { return op->emitOpError(); };
  return forEachType(op, [&](Type type) -> LogicalResult {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (tensor && tensor.getEncoding() && !isa<OnAttr>(tensor.getEncoding()))
      return op->emitOpError("[C13] the encoding ")
             << tensor.getEncoding()
             << " has no meaning here; legal are #nest.on and none";
    return success(checkType(emitError, type, table, symbols) !=
                   AxisUse::Invalid);
  });
}

LogicalResult nestc::nest::verifyAxisUses(Operation *root) {
  SymbolTableCollection symbols;
  return verifyAxisUses(root, symbols);
}

LogicalResult nestc::nest::verifyAxisUses(Operation *root,
                                          SymbolTableCollection &symbols) {
  Operation *table = SymbolTable::getNearestSymbolTable(root);
  if (!table)
    return success();
  // Types are few and used often.
  DenseMap<Type, AxisUse> seen;
  WalkResult result = root->walk<WalkOrder::PreOrder>([&](Operation *op) {
    // A symbol table inside has axes of its own.
    if (op != root && op->hasTrait<OpTrait::SymbolTable>())
      return WalkResult::skip();
    bool touches = false;
    auto emitError = [&] { return op->emitOpError(); };
    LogicalResult types = forEachType(op, [&](Type type) -> LogicalResult {
      auto [entry, isNew] = seen.try_emplace(type, AxisUse::None);
      if (isNew)
        entry->second = checkType(emitError, type, table, symbols);
      touches |= entry->second == AxisUse::On;
      return success(entry->second != AxisUse::Invalid);
    });
    if (failed(types) || (touches && failed(checkUser(op))))
      return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// Attributes of modules and functions
//===----------------------------------------------------------------------===//

namespace {
/// [C16] A key of nest.model is of the right kind, and in range.
LogicalResult verifyModel(Operation *op, Attribute attr) {
  auto refuse = [&](const Twine &what) {
    return op->emitError("[C16] nest.model ")
           << what
           << "; legal are family, model_type = \"...\"; dtype = \"f32\", "
              "\"bf16\" or \"f16\"; num_layers (0 or more), vocab_size, "
              "hidden_size, max_length (1 or more) as i64; eos_token_ids = "
              "array<i64: ...> (0 or more); other keys are free";
  };
  auto model = dyn_cast<DictionaryAttr>(attr);
  if (!model)
    return refuse("is no dictionary");
  for (NamedAttribute entry : model) {
    StringRef key = entry.getName();
    Attribute value = entry.getValue();
    bool legal = true;
    if (key == "family" || key == "model_type") {
      legal = isa<StringAttr>(value);
    } else if (key == "dtype") {
      auto text = dyn_cast<StringAttr>(value);
      legal = text && (text == "f32" || text == "bf16" || text == "f16");
    } else if (key == "num_layers" || key == "vocab_size" ||
               key == "hidden_size" || key == "max_length") {
      auto number = dyn_cast<IntegerAttr>(value);
      legal = number && number.getType().isSignlessInteger(64) &&
              number.getInt() >= (key == "num_layers" ? 0 : 1);
    } else if (key == "eos_token_ids") {
      auto ids = dyn_cast<DenseI64ArrayAttr>(value);
      legal = ids && llvm::all_of(ids.asArrayRef(),
                                  [](int64_t id) { return id >= 0; });
    }
    if (!legal)
      return refuse("has an illegal value of '" + key + "'");
  }
  return success();
}

/// The attribute `name` of argument or result `index` in `lists`, the arg_attrs
/// or res_attrs of a function that nobody has verified yet.
StringAttr getName(ArrayAttr lists, unsigned index, StringRef name) {
  if (!lists || index >= lists.size())
    return {};
  auto attrs = dyn_cast<DictionaryAttr>(lists[index]);
  return attrs ? attrs.getAs<StringAttr>(name) : StringAttr();
}

/// [C21] Names tell the arguments of an entry apart, and its results.
LogicalResult verifyNames(func::FuncOp function, ArrayAttr lists,
                          StringRef what) {
  llvm::StringSet<> names;
  // After bufferisation results are arguments too: an output may have the name
  // of an input.
  for (unsigned index = 0; lists && index < lists.size(); ++index)
    for (StringRef key : {kNameAttr, kCacheAttr}) {
      StringAttr name = getName(lists, index, key);
      auto attrs = dyn_cast<DictionaryAttr>(lists[index]);
      if (name && !attrs.contains(kOutputAttr) &&
          !names.insert(name.getValue()).second)
        return function.emitOpError("[C21] has two ")
               << what << "s of the name " << name
               << "; nest.name and nest.cache are distinct among them";
    }
  return success();
}

/// [C21], [C22] for an entry on tensors.
LogicalResult verifyEntrySignature(func::FuncOp function) {
  TypeAttr typeAttr = function.getFunctionTypeAttr();
  auto type =
      typeAttr ? dyn_cast<FunctionType>(typeAttr.getValue()) : FunctionType();
  if (!type) // the operation's own verifier says so
    return success();
  ArrayAttr arguments = function.getArgAttrsAttr();
  ArrayAttr results = function.getResAttrsAttr();
  if (failed(verifyNames(function, arguments, "argument")) ||
      failed(verifyNames(function, results, "result")))
    return failure();
  llvm::StringMap<Type> returned;
  for (auto [index, result] : llvm::enumerate(type.getResults()))
    if (StringAttr cache = getName(results, index, kCacheAttr))
      returned[cache.getValue()] = result;
  for (auto [index, argument] : llvm::enumerate(type.getInputs())) {
    StringAttr cache = getName(arguments, index, kCacheAttr);
    // A cache in memory is updated in place.
    if (!cache || !isa<TensorType>(argument))
      continue;
    auto found = returned.find(cache.getValue());
    if (found == returned.end() || found->second != argument)
      return function.emitOpError("[C22] takes the cache ")
             << cache << " as " << argument
             << " and has no result {nest.cache = " << cache
             << "} of this type; a cache comes in and goes out";
  }
  return success();
}

/// [C18]-[C22].
LogicalResult verifyEntry(Operation *op, Attribute attr) {
  auto name = dyn_cast<StringAttr>(attr);
  if (!name || name.empty() || !isa<FunctionOpInterface>(op))
    return op->emitOpError("[C18] nest.entry is an entry's name, a string that "
                           "is not empty, on a function");
  // The first entry of a block looks at all of them, once.
  Operation *previous = op->getPrevNode();
  while (previous && !previous->hasAttr(kEntryAttr))
    previous = previous->getPrevNode();
  if (!previous) {
    llvm::StringSet<> names;
    for (Operation *other = op; other; other = other->getNextNode()) {
      auto entry = other->getAttrOfType<StringAttr>(kEntryAttr);
      if (entry && !names.insert(entry.getValue()).second)
        return other->emitOpError("[C19] is a second entry ")
               << entry << "; entries of a module have distinct names";
    }
  }
  if (auto function = dyn_cast<func::FuncOp>(op))
    return verifyEntrySignature(function);
  return success();
}

/// [C24] After specialisation no type names an axis.
LogicalResult verifySpecialized(Operation *op) {
  WalkResult result = op->walk([&](Operation *inner) {
    return WalkResult(forEachType(inner, [&](Type type) -> LogicalResult {
      bool on = type.walk([](OnAttr) { return WalkResult::interrupt(); })
                    .wasInterrupted();
      if (!on)
        return success();
      return inner->emitOpError("[C24] has ")
             << type
             << " in a function that is nest.specialized; no axis is left "
                "there";
    }));
  });
  return failure(result.wasInterrupted());
}

/// [C20] for an argument or a result.
LogicalResult verifyNamed(Operation *op, StringRef what, unsigned index,
                          Type type, NamedAttribute attr) {
  auto refuse = [&](StringRef legal) {
    return op->emitOpError("[C20] ")
           << what << ' ' << index << " of type " << type << " has "
           << attr.getName().getValue() << " = " << attr.getValue()
           << "; legal is " << legal;
  };
  auto text = dyn_cast<StringAttr>(attr.getValue());
  // Functions of other dialects have pointers where ours have tensors.
  bool ours = isa<func::FuncOp>(op);
  auto shaped = dyn_cast<ShapedType>(type);
  bool isBuffer = isa<RankedTensorType, MemRefType>(type) || !ours;
  StringRef name = attr.getName().getValue();
  if (name == kNameAttr) {
    if (!text || text.empty() || !isBuffer)
      return refuse("a string that is not empty, on a ranked tensor or memref");
    return success();
  }
  if (name == kWeightAttr) {
    if (!text || text.empty() || !isBuffer)
      return refuse("a weight's symbol name, on a ranked tensor or memref");
    return success();
  }
  if (name == kCacheAttr) {
    bool isCache = !ours;
    if (ours && isBuffer) {
      Type element = shaped.getElementType();
      bool isFloat = element.isF32() || element.isBF16() || element.isF16();
      isCache = isFloat ? shaped.getRank() == 4
                        : element.isInteger(32) && shaped.getRank() >= 1 &&
                              shaped.getRank() <= 2;
    }
    if (!text || text.empty() || !isCache)
      return refuse("a string that is not empty, on a tensor or memref of rank "
                    "4 and type f32, bf16 or f16, or of rank 1 or 2 and type "
                    "i32");
    return success();
  }
  if (name == kOutputAttr) {
    if (!isa<UnitAttr>(attr.getValue()) || !isBuffer)
      return refuse("a unit attribute, on a ranked tensor or memref");
    return success();
  }
  if (name == kAxisAttr) {
    if (!text || text.empty() || (ours && !type.isIndex()))
      return refuse("an axis's name, on an index");
    return success();
  }
  return op->emitOpError("[C25] unknown attribute '")
         << name << "' on " << what << ' ' << index
         << "; legal are nest.name, nest.cache, nest.weight, nest.output and "
            "nest.axis";
}
/// [C8] of what an element of an axis stands for.
LogicalResult verifyGroup(Operation *op, Attribute attr) {
  auto axis = dyn_cast<AxisOp>(op);
  auto group = dyn_cast<IntegerAttr>(attr);
  int64_t counted;
  if (axis && group && group.getType().isInteger(64) && group.getInt() >= 1 &&
      !llvm::MulOverflow<int64_t>(axis.getSize(), group.getInt(), counted))
    return success();
  return op->emitOpError("[C8] nest.group is an i64 of 1 or more on a "
                         "nest.axis, and times the size it fits in 64 bits; "
                         "got ")
         << attr;
}
} // namespace

LogicalResult NestDialect::verifyOperationAttribute(Operation *op,
                                                    NamedAttribute attr) {
  StringRef name = attr.getName().getValue();
  if (name == kEntryAttr)
    return verifyEntry(op, attr.getValue());
  if (name == kSpecializedAttr) {
    auto spec = dyn_cast<StringAttr>(attr.getValue());
    if (!isa<FunctionOpInterface>(op) ||
        (!spec && !isa<UnitAttr>(attr.getValue())))
      return op->emitOpError(
          "[C23] nest.specialized is the submodel's text, or "
          "a unit attribute, on a function");
    return verifySpecialized(op);
  }
  bool isModule = isa<ModuleOp>(op);
  if (name == kModelAttr && isModule)
    return verifyModel(op, attr.getValue());
  if ((name == kSourceAttr || name == kSubmodelsAttr) && isModule) {
    auto text = dyn_cast<StringAttr>(attr.getValue());
    auto dictionary = dyn_cast<DictionaryAttr>(attr.getValue());
    bool legal = name == kSourceAttr
                     ? text && !text.empty()
                     : dictionary && llvm::all_of(dictionary, [](auto entry) {
                         // Empty text is the full model.
                         return isa<StringAttr>(entry.getValue());
                       });
    if (!legal)
      return op->emitError("[C17] ") << name << " = " << attr.getValue()
                                     << "; legal are nest.source = \"a "
                                        "directory\" and nest.submodels = "
                                        "{name = \"a submodel\"}";
    return success();
  }
  if (name == kGroupAttr)
    return verifyGroup(op, attr.getValue());
  return op->emitOpError("[C26] has no attribute '")
         << name
         << "'; legal are nest.model, nest.source and nest.submodels on a "
            "module, nest.entry and nest.specialized on a function";
}

LogicalResult NestDialect::verifyRegionArgAttribute(Operation *op,
                                                    unsigned region,
                                                    unsigned arg,
                                                    NamedAttribute attr) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || arg >= function.getArgumentTypes().size())
    return success();
  return verifyNamed(op, "argument", arg, function.getArgumentTypes()[arg],
                     attr);
}

LogicalResult NestDialect::verifyRegionResultAttribute(Operation *op,
                                                       unsigned region,
                                                       unsigned result,
                                                       NamedAttribute attr) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || result >= function.getResultTypes().size())
    return success();
  return verifyNamed(op, "result", result, function.getResultTypes()[result],
                     attr);
}
