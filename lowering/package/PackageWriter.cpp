//===- PackageWriter.cpp - writes a package directory -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/package/PackageWriter.h"

#include "dialect/Kernel.h"
#include "dialect/Nest.h"
#include "lowering/code/EntrySymbol.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Safetensors.h"
#include "lowering/runtime/Sha256.h"
#include "passes/SharedWeights.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace nestc {

static rt::DType toDType(Type type) {
  if (type.isBF16())
    return rt::DType::BF16;
  if (type.isF16())
    return rt::DType::F16;
  if (type.isInteger(32))
    return rt::DType::I32;
  return rt::DType::F32;
}

std::vector<PackagedWeight> collectWeights(ModuleOp module) {
  std::vector<PackagedWeight> weights;
  llvm::DenseMap<Operation *, SharedBox> boxes = sharedBoxes(module);
  for (auto weight : module.getOps<nest::WeightOp>()) {
    RankedTensorType type = weight.getTensorType();
    RankedTensorType stored = weight.getStoredType();
    PackagedWeight packaged;
    packaged.name = weight.getSymName().str();
    packaged.key = weight.getKeyOrName().str();
    packaged.storedType = toDType(stored.getElementType());
    packaged.type = toDType(type.getElementType());
    packaged.storedShape = stored.getShape().vec();
    packaged.shape = type.getShape().vec();
    if (auto offsets = weight.getOffsets())
      packaged.offsets.assign(offsets->begin(), offsets->end());
    else
      packaged.offsets.assign(stored.getRank(), 0);
    if (auto sizes = weight.getSizes())
      packaged.sizes.assign(sizes->begin(), sizes->end());
    else
      packaged.sizes = packaged.storedShape;
    SharedBox &box = boxes[weight];
    packaged.owner = box.owner.getSymName().str();
    packaged.room.assign(box.sizes.begin(), box.sizes.end());
    weights.push_back(std::move(packaged));
  }
  return weights;
}

/// Values of the input `modality` and which of them are accepted: those that
/// `accepted_modalities` lists, else those that `modality_sets` gives a set.
static rt::Manifest::Modalities describeModalities(DictionaryAttr model) {
  rt::Manifest::Modalities modalities;
  auto names = model.getAs<ArrayAttr>("modalities");
  if (!names)
    return modalities;
  for (Attribute name : names)
    if (auto text = dyn_cast<StringAttr>(name))
      modalities.names.push_back(text.str());
  auto accepted = model.getAs<DenseI64ArrayAttr>("accepted_modalities");
  auto sets = model.getAs<DenseI64ArrayAttr>("modality_sets");
  int64_t count = modalities.names.size();
  for (int64_t value = 0; value < count; ++value)
    if (accepted ? llvm::is_contained(accepted.asArrayRef(), value)
                 : !sets || value >= sets.size() || sets[value] >= 0)
      modalities.accepted.push_back(value);
  return modalities;
}

/// "select topk, decode threshold, capacity 1/8": what the route of a layer
/// says, whether it is a text or a dictionary.
static std::string describeRoute(Attribute route) {
  if (auto text = dyn_cast<StringAttr>(route))
    return text.str();
  std::string words;
  auto fields = dyn_cast<DictionaryAttr>(route);
  if (!fields)
    return words;
  auto add = [&](StringRef key, StringRef value) {
    words += ((words.empty() ? "" : ", ") + key + " " + value).str();
  };
  auto addField = [&](StringRef key) {
    Attribute value = fields.get(key);
    if (auto text = dyn_cast_or_null<StringAttr>(value)) {
      add(key, text);
    } else if (auto capacity = dyn_cast_or_null<nest::CapacityAttr>(value)) {
      std::string size = std::to_string(capacity.getNumerator());
      if (!capacity.isCount())
        size += "/" + std::to_string(capacity.getDenominator());
      add(key, size);
    }
  };
  // The policies first, then what bounds them.
  for (StringRef key : {"select", "decode", "capacity", "kv"})
    addField(key);
  for (NamedAttribute field : fields)
    if (!llvm::is_contained({"select", "decode", "capacity", "kv"},
                            field.getName().strref()))
      addField(field.getName());
  return words;
}

void describeModel(ModuleOp module, rt::Manifest &manifest) {
  auto model = module->getAttrOfType<DictionaryAttr>(nest::kModelAttr);
  auto text = [&](StringRef key) {
    auto attr = model ? model.getAs<StringAttr>(key) : StringAttr();
    return attr ? attr.str() : std::string();
  };
  auto number = [&](StringRef key) {
    auto attr = model ? model.getAs<IntegerAttr>(key) : IntegerAttr();
    return attr ? attr.getInt() : 0;
  };
  manifest.model.family = text("family");
  manifest.model.modelType = text("model_type");
  manifest.model.dtype = text("dtype");
  manifest.model.vocabSize = number("vocab_size");
  manifest.model.maxLength = number("max_length");
  manifest.model.numLayers = number("num_layers");
  if (auto ids = model ? model.getAs<DenseI64ArrayAttr>("eos_token_ids")
                       : DenseI64ArrayAttr())
    manifest.model.eosTokenIds = ids.asArrayRef().vec();
  if (!model)
    return;
  manifest.model.modalities = describeModalities(model);
  if (auto routes = model.getAs<DictionaryAttr>("routes"))
    for (NamedAttribute route : routes)
      manifest.model.routes.emplace_back(route.getName().str(),
                                         describeRoute(route.getValue()));
  // A dictionary is sorted as text: layer 10 before 9.
  llvm::sort(manifest.model.routes, [](const auto &a, const auto &b) {
    return StringRef(a.first).compare_numeric(b.first) < 0;
  });
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

/// A buffer as the manifest has it: dynamic dimension 0 is B, 1 is T.
static rt::Manifest::Buffer describeBuffer(MemRefType type, StringRef name,
                                           bool cache) {
  rt::Manifest::Buffer buffer;
  buffer.name = name.str();
  buffer.dtype = toDType(type.getElementType());
  buffer.cache = cache;
  for (auto [dim, size] : llvm::enumerate(type.getShape()))
    buffer.shape.push_back(ShapedType::isDynamic(size)
                               ? rt::ManifestDim::dynamic(dim == 0 ? 0 : 1)
                               : rt::ManifestDim::of(size));
  return buffer;
}

rt::Status describeEntries(ModuleOp module,
                           const std::vector<PackagedWeight> &weights,
                           rt::Manifest &manifest) {
  llvm::StringMap<int64_t> indices;
  for (auto [index, weight] : llvm::enumerate(weights))
    indices[weight.name] = index;

  for (auto function : module.getOps<func::FuncOp>()) {
    auto name = function->getAttrOfType<StringAttr>(nest::kEntryAttr);
    if (!name)
      continue;
    rt::Manifest::Entry entry;
    entry.name = name.str();
    entry.symbol = code::entrySymbol(entry.name);
    entry.dims = {"B"};
    for (BlockArgument argument : function.getArguments()) {
      unsigned number = argument.getArgNumber();
      auto attribute = [&](StringRef key) {
        return function.getArgAttrOfType<StringAttr>(number, key);
      };
      auto type = dyn_cast<MemRefType>(argument.getType());
      if (!type)
        return rt::Error("entry '" + entry.name + "'",
                         "argument " + std::to_string(number) +
                             " is no buffer");
      if (StringAttr cache = attribute(nest::kCacheAttr)) {
        entry.inputs.push_back(describeBuffer(type, cache, true));
      } else if (StringAttr weight = attribute(nest::kWeightAttr)) {
        auto found = indices.find(weight.getValue());
        if (found == indices.end())
          return rt::Error("entry '" + entry.name + "'",
                           "there is no weight '" + weight.str() + "'");
        entry.weights.push_back(found->second);
      } else if (StringAttr buffer = attribute(nest::kNameAttr)) {
        auto &list = function.getArgAttr(number, "nest.output") ? entry.outputs
                                                                : entry.inputs;
        list.push_back(describeBuffer(type, buffer, false));
      } else if (!function.getArgAttr(number, "kernel.arena")) {
        return rt::Error("entry '" + entry.name + "'",
                         "argument " + std::to_string(number) + " has no name",
                         "name it by nest.name or nest.cache");
      }
    }
    // The code's order of sizes is B, T; an entry of one row has no T.
    for (const rt::Manifest::Buffer &buffer : entry.inputs)
      for (const rt::ManifestDim &dim : buffer.shape)
        if (dim.symbol == 1 && entry.dims.size() == 1)
          entry.dims.push_back("T");
    if (auto arena = function->getAttrOfType<DictionaryAttr>("kernel.arena")) {
      auto bytes = [&](StringRef key) {
        auto attr = arena.getAs<IntegerAttr>(key);
        return attr ? attr.getInt() : 0;
      };
      entry.arena = {bytes("per_row"), bytes("per_sequence"), bytes("fixed"),
                     bytes("tickets")};
    }
    manifest.entries.push_back(std::move(entry));
  }
  return rt::Status::success();
}

//===----------------------------------------------------------------------===//
// The directory
//===----------------------------------------------------------------------===//

/// Fills `root`, the package's temporary directory.
static rt::Status fillPackage(PackageRequest &request,
                              const rt::Checkpoint &checkpoint,
                              const std::string &root) {
  rt::Manifest &manifest = request.manifest;
  rt::SafetensorsWriter writer;
  // A tensor for each owner; the writer refers to them.
  std::vector<PackagedWeight> tensors;
  llvm::StringMap<size_t> tensorOf;
  for (const PackagedWeight &weight : request.weights) {
    if (weight.owner != weight.name)
      continue;
    tensorOf[weight.name] = tensors.size();
    tensors.push_back(weight);
    if (weight.room != weight.shape)
      tensors.back().sizes = tensors.back().shape = weight.room;
  }
  for (const PackagedWeight &tensor : tensors)
    NEST_RT_TRY(addWeight(writer, checkpoint, tensor));
  writer.layout();
  std::string codePath = rt::joinPath(root, "code.so");
  NEST_RT_TRY(request.code(codePath));
  {
    NEST_RT_ASSIGN(rt::MappedFile code, rt::MappedFile::open(codePath));
    manifest.code = {"code.so", rt::sha256(code.text())};
  }
  if (request.device) {
    auto write =
        [&](const std::string &name,
            const std::string &text) -> rt::Expected<rt::Manifest::Code> {
      NEST_RT_TRY(writePlainFile(rt::joinPath(root, name), text));
      return rt::Manifest::Code{name, rt::sha256(text)};
    };
    manifest.device.emplace();
    NEST_RT_ASSIGN(manifest.device->ptx,
                   write("code.ptx", request.device->ptx));
    if (!request.device->cubin.empty()) {
      NEST_RT_ASSIGN(manifest.device->cubin,
                     write("code.cubin", request.device->cubin));
    }
    manifest.device->kernels = request.device->kernels;
  }
  std::string weightsPath = rt::joinPath(root, "weights.safetensors");
  NEST_RT_TRY(writeTensors(writer, weightsPath, [&](uint64_t done) {
    if (request.progress)
      request.progress(done, writer.fileBytes());
  }));
  manifest.files = {{"weights.safetensors",
                     static_cast<int64_t>(writer.fileBytes()),
                     rt::sha256(writer.headerText())}};
  manifest.weights.clear();
  for (const PackagedWeight &weight : request.weights) {
    rt::Manifest::Weight entry;
    entry.name = weight.name;
    entry.offset = writer.offset(tensorOf.lookup(weight.owner));
    entry.dtype = weight.type;
    entry.shape = weight.shape;
    if (weight.shape.size() == 2)
      entry.rowStride = weight.room[1];
    manifest.weights.push_back(std::move(entry));
  }

  std::string tokenizer = rt::joinPath(request.checkpoint, "tokenizer.json");
  if (rt::fileExists(tokenizer))
    NEST_RT_TRY(copyFile(tokenizer, rt::joinPath(root, "tokenizer.json")));

  std::string manifestPath = rt::joinPath(root, "manifest.json");
  NEST_RT_TRY(manifest.validate(manifestPath));
  return writePlainFile(manifestPath, manifest.serialise());
}

rt::Status writePackage(PackageRequest request) {
  NEST_RT_ASSIGN(rt::Checkpoint checkpoint,
                 rt::Checkpoint::open(request.checkpoint));
  NEST_RT_ASSIGN(rt::AtomicDirectory directory,
                 rt::AtomicDirectory::create(request.output));
  const std::string &root = directory.tempPath();
  rt::Status status = fillPackage(request, checkpoint, root);
  if (status.ok())
    return directory.commit();
  return inOutput(status.takeError(), root, request.output);
}

} // namespace nestc
