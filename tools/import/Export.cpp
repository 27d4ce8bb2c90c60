//===- Export.cpp - a submodel becomes a checkpoint of its own --*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Export.h"

#include "lowering/runtime/Json.h"
#include "tools/import/Family.h"
#include "tools/import/NestJson.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <numeric>

using namespace nestc;
using namespace nestc::rt;
using llvm::ArrayRef;
using llvm::SmallVector;
using llvm::StringRef;

/// Files beside the model's own that go with it as they are.
static const char *const kCompanions[] = {"tokenizer.json",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "added_tokens.json",
                                          "vocab.json",
                                          "merges.txt",
                                          "tokenizer.model",
                                          "generation_config.json",
                                          "chat_template.json",
                                          "chat_template.jinja"};

static constexpr const char *kIndexName = "model.safetensors.index.json";
/// In the metadata of every file of tensors. What saves a model anew drops it,
/// and with it the permission to replace the directory.
static constexpr const char *kProducer = "producer";

/// Layers are numbered anew, widths are written as these parts of the whole
/// where the denominator is at most this.
static constexpr int64_t kMaxDenominator = 64;

namespace {
/// What becomes of the numbers of a model's layers, and of its towers.
struct Numbering {
  SmallVector<int64_t> kept;  ///< old numbers, ascending
  SmallVector<int64_t> fresh; ///< for every old number the new one, or -1

  explicit Numbering(const std::vector<bool> &keeps) {
    for (size_t old = 0; old < keeps.size(); ++old) {
      fresh.push_back(keeps[old] ? static_cast<int64_t>(kept.size()) : -1);
      if (keeps[old])
        kept.push_back(static_cast<int64_t>(old));
    }
  }
  /// -1 for a number that is not there as well.
  int64_t of(int64_t old) const {
    return old >= 0 && old < static_cast<int64_t>(fresh.size()) ? fresh[old]
                                                                : -1;
  }
  int64_t count() const { return static_cast<int64_t>(kept.size()); }
};

/// Layers by what is said of them, in the order of their first ones.
template <typename Key>
class Groups {
public:
  void add(const Key &key, int64_t layer) {
    for (auto &[known, layers] : groups)
      if (known == key) {
        layers.push_back(layer);
        return;
      }
    groups.push_back({key, {layer}});
  }
  auto begin() const { return groups.begin(); }
  auto end() const { return groups.end(); }

private:
  std::vector<std::pair<Key, SmallVector<int64_t>>> groups;
};

/// One export.
class Exporter {
public:
  Exporter(const ExportRequest &request, Json config, Json nestJson,
           NestJson nest)
      : request(request), config(std::move(config)),
        nestJson(std::move(nestJson)), nest(std::move(nest)),
        layers(keptLayers(request.binding)),
        towers(keptTowers(request.binding, this->nest)) {}

  Status check() const;
  /// config.json; keys that nothing here changes stay.
  Json makeConfig() const;
  /// nest.json, or null where it would say nothing.
  Json makeNest() const;
  /// The tensors under their new names, in the order of the checkpoint.
  std::vector<PackagedWeight> makeTensors() const;
  Status write(const std::string &root) const;

private:
  static std::vector<bool> keptLayers(const Binding &binding) {
    std::vector<bool> kept = binding.skipped;
    kept.flip();
    return kept;
  }
  static std::vector<bool> keptTowers(const Binding &binding,
                                      const NestJson &nest) {
    if (!nest.modalities())
      return {};
    std::vector<bool> kept(nest.modalities()->numTowers, false);
    for (const auto &[value, tower] :
         llvm::enumerate(nest.modalities()->towers))
      if (binding.modalities.empty() || binding.modalities[value])
        kept[tower] = true;
    return kept;
  }

  AxisTable::Axis axisOf(StringRef kind, int64_t layer) const {
    return request.table.axes.lookup(AxisTable::name(layer, kind));
  }
  static int64_t widthOf(StringRef kind, const Binding &binding,
                         int64_t layer) {
    return binding.widths.lookup(AxisTable::name(layer, kind));
  }
  /// Whether gate and up are the halves of one tensor, and what the config
  /// calls the width is both.
  bool hasHalves() const {
    const Json *activation = config.find("activation_type");
    return request.family == &olmoFamily &&
           (!activation || !activation->isString() ||
            activation->asString() == "swiglu");
  }
  int64_t widthOf(StringRef kind, int64_t layer) const {
    return widthOf(kind, request.binding, layer);
  }
  /// KV heads of every layer that is left, where the family has such an axis.
  std::vector<int64_t> kvHeads() const {
    std::vector<int64_t> widths;
    for (int64_t layer : layers.kept)
      if (axisOf(kHeadAxis, layer).size)
        widths.push_back(widthOf(kHeadAxis, layer));
    return widths;
  }
  bool keepsRoutes() const {
    return llvm::any_of(request.table.routes, [&](const auto &route) {
      return layers.of(route.first) >= 0;
    });
  }

  std::optional<std::string> rename(StringRef name) const;
  void setWidths(Json &json) const;
  void setDepth(Json &json) const;
  void setHeads(Json &json) const;
  Json makeAxes() const;
  Json makeRoutes(const Json &routes) const;
  Json makeModalities(Json modalities) const;
  std::string restate(const Binding &other) const;
  Status writeTensorFiles(const std::string &root) const;

  const ExportRequest &request;
  Json config, nestJson;
  NestJson nest;
  Numbering layers, towers;
};
} // namespace

/// `width` of `size` as a part of it, or as a count where the part is an odd
/// one.
static std::string describeWidth(int64_t width, int64_t size) {
  int64_t common = std::gcd(width, size);
  if (size / common > kMaxDenominator)
    return std::to_string(width);
  return std::to_string(width / common) + "/" + std::to_string(size / common);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// The new name of a tensor; none where its layer or its tower is gone.
std::optional<std::string> Exporter::rename(StringRef name) const {
  std::string renamed;
  auto renumber = [&](const Numbering &numbering, StringRef digits) {
    int64_t old;
    int64_t fresh = digits.getAsInteger(10, old) ? -1 : numbering.of(old);
    renamed += std::to_string(fresh);
    return fresh >= 0;
  };
  std::string own = name.str();
  StringRef outer = request.family->outerPrefix;
  if (!outer.empty() && name.starts_with(outer))
    own = "model." + name.drop_front(outer.size()).str();
  StringRef rest = own;
  if (rest.consume_front(request.family->basePrefix))
    renamed = request.family->basePrefix;
  if (rest.consume_front(request.family->layerPrefix)) {
    renamed += request.family->layerPrefix;
    StringRef digits = rest.take_while(llvm::isDigit);
    if (!renumber(layers, digits))
      return std::nullopt;
    rest = rest.drop_front(digits.size());
  }
  if (!(request.family->reads & Family::ModalityList))
    return renamed + rest.str();
  SmallVector<StringRef> words;
  rest.split(words, '.');
  for (const auto &[index, word] : llvm::enumerate(words)) {
    renamed += index ? "." : "";
    bool isTower = !word.empty() && llvm::all_of(word, llvm::isDigit);
    if (!isTower)
      renamed += word.str();
    else if (!renumber(towers, word))
      return std::nullopt;
  }
  return renamed;
}

/// Makes of a tensor the parts that are left, which lie side by side.
static void joinParts(PackagedWeight &tensor,
                      ArrayRef<const PackagedWeight *> parts) {
  tensor.cut = parts.front()->sizes[0] == tensor.storedShape[0] ? 1 : 0;
  int64_t &size = tensor.sizes[tensor.cut];
  size = 0;
  for (const PackagedWeight *part : parts) {
    int64_t first = part->offsets[tensor.cut];
    int64_t count = part->sizes[tensor.cut];
    size += count;
    auto &pieces = tensor.pieces;
    if (!pieces.empty() && pieces.back().first + pieces.back().second == first)
      pieces.back().second += count;
    else
      pieces.emplace_back(first, count);
  }
}

std::vector<PackagedWeight> Exporter::makeTensors() const {
  llvm::StringMap<const PackagedWeight *> boxes;
  llvm::StringMap<int64_t> parts;
  llvm::StringMap<SmallVector<const PackagedWeight *>> partsLeft;
  for (const PackagedWeight &weight : request.kept) {
    boxes[weight.name] = &weight;
    partsLeft[weight.key].push_back(&weight);
  }
  for (const PackagedWeight &weight : request.all)
    ++parts[weight.key];
  std::vector<PackagedWeight> tensors;
  for (const PackagedWeight &weight : request.all) {
    std::optional<std::string> name = rename(weight.key);
    int64_t &left = parts[weight.key];
    if (!name || left == 0)
      continue;
    PackagedWeight tensor = weight;
    // What the submodel does not read, such as the router of a layer that every
    // row passes, is asked for all the same; of a tensor that several weights
    // are parts of, none is on an axis.
    auto box = left == 1 ? boxes.find(weight.name) : boxes.end();
    if (box != boxes.end())
      tensor = *box->second;
    if (left > 1) {
      tensor.offsets.assign(tensor.storedShape.size(), 0);
      tensor.sizes = tensor.storedShape;
      // Some of them may be of layers that are gone.
      ArrayRef<const PackagedWeight *> some = partsLeft[weight.key];
      if (!some.empty() && static_cast<int64_t>(some.size()) < left)
        joinParts(tensor, some);
    }
    left = 0;
    tensor.name = std::move(*name);
    tensor.type = tensor.storedType;
    tensor.shape = tensor.sizes;
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

//===----------------------------------------------------------------------===//
// config.json
//===----------------------------------------------------------------------===//

/// The elements of a list with one for each layer that are left.
static Json keepElements(const Json &list, const Numbering &layers) {
  Json left = Json::array();
  for (int64_t old : layers.kept)
    left.push(list.elements()[old]);
  return left;
}

void Exporter::setDepth(Json &json) const {
  int64_t before = request.table.numLayers;
  if (layers.count() == before)
    return;
  json.set(request.family->depthKey, layers.count());
  const Json *types = config.find("layer_types");
  if (types && types->isArray() &&
      static_cast<int64_t>(types->size()) == before)
    json.set("layer_types", keepElements(*types, layers));

  // Layers from this one on have a window; the default is that of qwen.
  const Json *window = config.find("max_window_layers");
  const Json *slides = config.find("use_sliding_window");
  int64_t firstWithWindow = before;
  if (window && window->isInt())
    firstWithWindow = window->asInt();
  else if (slides && slides->asBool())
    firstWithWindow = 28;
  if (firstWithWindow < before)
    json.set("max_window_layers", llvm::count_if(layers.kept, [&](int64_t old) {
               return old < firstWithWindow;
             }));

  if (const Json *moe = config.find("moe_layers"); moe && moe->isArray()) {
    Json left = Json::array();
    for (const Json &old : moe->elements())
      if (int64_t fresh = layers.of(old.asInt()); fresh >= 0)
        left.push(fresh);
    json.set("moe_layers", std::move(left));
  }
}

void Exporter::setWidths(Json &json) const {
  const char *key = request.family->widthKey;
  const Json *before = config.find(key);
  std::vector<int64_t> widths;
  bool changed = before && before->isArray();
  for (int64_t layer : layers.kept) {
    int64_t width = widthOf(kFfnAxis, layer);
    changed |= width != axisOf(kFfnAxis, layer).size;
    widths.push_back(hasHalves() ? 2 * width : width);
  }
  if (!changed)
    return;
  if (llvm::all_equal(widths)) {
    json.set(key, widths.front());
    return;
  }
  json.set(key, Json::arrayOf(widths));
  if (request.family == &llamaFamily || request.family == &vitFamily)
    request.warn(Error(joinPath(request.output, "config.json") + ": " + key,
                       "is a list, one width for each layer, which nestc reads "
                       "and transformers does not for this model type",
                       "give every layer the same width for a checkpoint that "
                       "transformers loads"));
}

void Exporter::setHeads(Json &json) const {
  std::vector<int64_t> left = kvHeads();
  if (left.empty())
    return;
  AxisTable::Axis axis = axisOf(kHeadAxis, layers.kept.front());
  if (left.front() == axis.size)
    return;
  const Family &family = *request.family;
  // A config may leave out what the number of heads says, which changes now.
  json.set("head_dim", request.table.headDim);
  json.set(family.headsKey, left.front() * axis.group);
  json.set(family.kvHeadsKey, left.front());
}

Json Exporter::makeConfig() const {
  Json json = config;
  setDepth(json);
  setWidths(json);
  setHeads(json);
  if (request.family->keepLayers)
    request.family->keepLayers(json, layers.kept, request.table.numLayers);
  // Rows that pad the embedding are not part of the model.
  if (request.family == &olmoFamily && config.find("embedding_size"))
    json.set("embedding_size", *config.find("vocab_size"));
  return json;
}

//===----------------------------------------------------------------------===//
// nest.json
//===----------------------------------------------------------------------===//

/// The levels that are left, at most as wide as the layer is now.
Json Exporter::makeAxes() const {
  Json axes = Json::object();
  for (StringRef kind : kAxisKinds) {
    Groups<Json> groups;
    for (int64_t layer : layers.kept) {
      int64_t width = widthOf(kind, layer);
      Json levels = Json::array();
      bool isNested = false;
      AxisTable::Axis axis = axisOf(kind, layer);
      for (int64_t level : axis.levels) {
        if (level > width)
          continue;
        isNested |= level < width;
        std::string text = level == width ? "1" : describeWidth(level, width);
        levels.push(level == width || text.find('/') != std::string::npos
                        ? Json(text)
                        : Json(level * axis.group));
      }
      if (isNested)
        groups.add(levels, layers.of(layer));
    }
    for (const auto &[levels, list] : groups) {
      Json axis = Json::object();
      axis.set("levels", levels);
      axes.set("layers." + LayerSelector::text(list, layers.count()) + "." +
                   kind.str(),
               std::move(axis));
    }
  }
  return axes;
}

/// "1/8", "1", or a count.
static Json capacityJson(nest::CapacityAttr capacity) {
  auto numerator = static_cast<int64_t>(capacity.getNumerator());
  auto denominator = static_cast<int64_t>(capacity.getDenominator());
  if (capacity.isCount())
    return numerator;
  return std::to_string(numerator) + "/" + std::to_string(denominator);
}

Json Exporter::makeRoutes(const Json &routes) const {
  Json left = Json::object();
  for (const auto &[key, route] : routes.members()) {
    SubmodelError error;
    StringRef selector = key;
    selector.consume_front("layers.");
    auto parsed = LayerSelector::parse(selector, key, error);
    auto listed = parsed ? parsed->resolve(request.table.numLayers, key, error)
                         : std::nullopt;
    if (!listed)
      continue; // the import resolved it
    Groups<Json> groups;
    for (int64_t old : *listed) {
      if (layers.of(old) < 0)
        continue;
      Json changed = route;
      auto bound = request.binding.routes.find(old);
      if (bound != request.binding.routes.end() && bound->second) {
        changed.set("capacity", capacityJson(bound->second));
      } else if (bound != request.binding.routes.end()) {
        changed.set("select", "topk");
        changed.set("capacity", "1");
        changed.set("decode", "always");
      }
      groups.add(changed, layers.of(old));
    }
    for (const auto &[changed, list] : groups)
      left.set("layers." + LayerSelector::text(list, layers.count()), changed);
  }
  return left;
}

Json Exporter::makeModalities(Json modalities) const {
  const Modalities &list = *nest.modalities();
  Json names = Json::array(), tower = Json::object();
  for (const auto &[value, name] : llvm::enumerate(list.names)) {
    if (!request.binding.modalities.empty() &&
        !request.binding.modalities[value])
      continue;
    names.push(name);
    tower.set(name, towers.of(list.towers[value]));
  }
  modalities.set("names", std::move(names));
  modalities.set("tower", std::move(tower));
  return modalities;
}

/// The submodel `other` in terms of what is exported; empty where it is all of
/// it, or has something that is gone.
std::string Exporter::restate(const Binding &other) const {
  const Binding &own = request.binding;
  SmallVector<int64_t> skipped;
  Groups<std::string> widths[std::size(kAxisKinds)], routes;
  for (int64_t old = 0; old < request.table.numLayers; ++old) {
    int64_t layer = layers.of(old);
    if (other.skipped[old]) {
      if (layer >= 0)
        skipped.push_back(layer);
      continue;
    }
    if (layer < 0)
      return "";
    for (const auto &[index, kind] : llvm::enumerate(kAxisKinds)) {
      int64_t width = widthOf(kind, other, old), size = widthOf(kind, old);
      if (width > size)
        return "";
      if (width == size)
        continue;
      std::string text = describeWidth(width, size);
      if (text.find('/') == std::string::npos)
        text = std::to_string(width * axisOf(kind, old).group);
      widths[index].add(text, layer);
    }
    auto bound = other.routes.find(old), mine = own.routes.find(old);
    if (mine != own.routes.end()) {
      if (bound == other.routes.end() || bound->second != mine->second)
        return "";
    } else if (bound != other.routes.end()) {
      Json capacity = bound->second ? capacityJson(bound->second) : Json();
      routes.add(!bound->second        ? "=dense"
                 : capacity.isString() ? ".capacity=" + capacity.asString()
                                       : ".capacity=" + capacity.str(),
                 layer);
    }
  }
  SmallVector<std::string> entries;
  auto select = [&](ArrayRef<int64_t> list) {
    return LayerSelector::text(list, layers.count());
  };
  for (const auto &[index, kind] : llvm::enumerate(kAxisKinds))
    for (const auto &[width, list] : widths[index])
      entries.push_back("layers." + select(list) + "." + kind.str() + "=" +
                        width);
  for (const auto &[route, list] : routes)
    entries.push_back("routes." + select(list) + route);
  if (!skipped.empty())
    entries.push_back("skip=" + select(skipped));

  const std::vector<std::string> &names = request.table.modalities;
  std::string modalities;
  bool all = true;
  for (size_t value = 0; value < names.size(); ++value) {
    bool wanted = other.modalities.empty() || other.modalities[value];
    bool there = own.modalities.empty() || own.modalities[value];
    if (wanted && !there)
      return "";
    all &= wanted || !there;
    if (wanted)
      modalities += (modalities.empty() ? "" : "+") + names[value];
  }
  if (!all)
    entries.push_back("modalities=" + modalities);
  return llvm::join(entries, ",");
}

Json Exporter::makeNest() const {
  if (nestJson.isNull())
    return {};
  Json json = Json::object();
  auto setUnlessEmpty = [&](const char *key, Json value) {
    if (value.size() != 0)
      json.set(key, std::move(value));
  };
  json.set("format", 1);
  // Without its routed layers a model of the family mod is a plain llama.
  if (const Json *family = nestJson.find("family");
      family && (request.family != &modFamily || keepsRoutes()))
    json.set("family", *family);
  size_t nothing = json.size();
  if (nest.declaresAxes())
    setUnlessEmpty("axes", makeAxes());
  if (const Json *routes = nestJson.find("routes"))
    setUnlessEmpty("routes", makeRoutes(*routes));
  if (const Json *modalities = nestJson.find("modalities");
      modalities && nest.modalities())
    setUnlessEmpty("modalities", makeModalities(*modalities));
  Json submodels = Json::object();
  for (const auto &[name, text] : nest.submodels()) {
    SubmodelError error;
    auto spec = SubmodelSpec::parse(text, error);
    auto binding = spec ? resolveSubmodel(*spec, request.table, error)
                        : std::optional<Binding>();
    std::string restated = binding ? restate(*binding) : std::string();
    if (!restated.empty())
      submodels.set(name, restated);
  }
  setUnlessEmpty("submodels", std::move(submodels));
  return json.size() == nothing ? Json() : json;
}

//===----------------------------------------------------------------------===//
// The directory
//===----------------------------------------------------------------------===//

Status Exporter::check() const {
  if (std::vector<int64_t> left = kvHeads(); !llvm::all_equal(left))
    return Error(request.directory,
                 "layers would have different numbers of heads, which no "
                 "config.json of this family can say",
                 "give every layer that is left the same heads");
  if (hasHalves() && llvm::any_of(layers.kept, [&](int64_t layer) {
        return widthOf(kFfnAxis, layer) != axisOf(kFfnAxis, layer).size;
      }))
    return Error(
        request.directory,
        "a part of an FFN would be exported whose swiglu has one "
        "ff_proj for both halves, of which a prefix is no part of each",
        "give every layer that is left its full width");
  if (request.family != &modGptFamily || keepsRoutes())
    return Status::success();
  std::string routed;
  for (const auto &route : request.table.routes)
    routed += (routed.empty() ? "" : "+") + std::to_string(route.first);
  return Error(request.directory,
               "no routed layer would be left, and without one nothing reads "
               "tensors of this layout",
               "keep one of the layers " + routed);
}

Status Exporter::writeTensorFiles(const std::string &root) const {
  NEST_RT_ASSIGN(Checkpoint checkpoint, Checkpoint::open(request.directory));
  std::vector<PackagedWeight> tensors = makeTensors();
  std::vector<SafetensorsWriter> files;
  std::vector<size_t> fileOf;
  uint64_t inFile = 0, inAll = 0;
  for (const PackagedWeight &tensor : tensors) {
    std::optional<uint64_t> bytes = byteCount(tensor.type, tensor.shape);
    uint64_t size = bytes ? *bytes : 0; // addWeight() refuses what is too large
    if (files.empty() || (inFile && inFile + size > request.shardBytes)) {
      files.emplace_back();
      inFile = 0;
    }
    inFile += size;
    inAll += size;
    fileOf.push_back(files.size() - 1);
    NEST_RT_TRY(addWeight(files.back(), checkpoint, tensor));
  }
  uint64_t total = 0, before = 0;
  std::vector<std::string> names;
  for (SafetensorsWriter &file : files) {
    // transformers asks for the format.
    file.setMetadata("format", "pt");
    file.setMetadata(kProducer, request.producer);
    file.layout();
    total += file.fileBytes();
    names.push_back(files.size() == 1
                        ? std::string("model.safetensors")
                        : llvm::formatv("model-{0:d5}-of-{1:d5}.safetensors",
                                        names.size() + 1, files.size())
                              .str());
  }
  for (size_t index = 0; index < files.size(); ++index) {
    NEST_RT_TRY(writeTensors(files[index], joinPath(root, names[index]),
                             [&](uint64_t done) {
                               if (request.progress)
                                 request.progress(before + done, total);
                             }));
    before += files[index].fileBytes();
  }
  if (files.size() == 1)
    return Status::success();
  Json metadata = Json::object(), map = Json::object(), index = Json::object();
  metadata.set("total_size", inAll);
  for (size_t i = 0; i < tensors.size(); ++i)
    map.set(tensors[i].name, names[fileOf[i]]);
  index.set("metadata", std::move(metadata));
  index.set("weight_map", std::move(map));
  return writePlainFile(joinPath(root, kIndexName), index.str(2) + "\n");
}

Status Exporter::write(const std::string &root) const {
  NEST_RT_TRY(writeTensorFiles(root));
  NEST_RT_TRY(writePlainFile(joinPath(root, "config.json"),
                             makeConfig().str(2) + "\n"));
  if (Json json = makeNest(); !json.isNull())
    NEST_RT_TRY(
        writePlainFile(joinPath(root, "nest.json"), json.str(2) + "\n"));
  for (const char *name : kCompanions) {
    std::string path = joinPath(request.directory, name);
    if (fileExists(path))
      NEST_RT_TRY(copyFile(path, joinPath(root, name)));
  }
  return Status::success();
}

/// Whether `path` is a directory that an export made and nobody put more into.
static bool isExport(const std::string &path) {
  if (!isDirectory(path))
    return false;
  Expected<std::vector<std::string>> names = listDirectory(path);
  if (!names)
    return false;
  bool marked = false;
  for (StringRef name : *names) {
    bool known = name == "config.json" || name == "nest.json" ||
                 name == kIndexName || llvm::is_contained(kCompanions, name);
    if (known)
      continue;
    if (!name.ends_with(".safetensors"))
      return false;
    Expected<SafetensorsFile> file =
        SafetensorsFile::open(joinPath(path, name.str()));
    if (!file)
      return false;
    auto producer = file->metadata().find(kProducer);
    if (producer == file->metadata().end() ||
        !StringRef(producer->second).starts_with("nestc"))
      return false;
    marked = true;
  }
  return marked;
}

static bool isReplaceable(const std::string &path) {
  return isNestcPackage(path) || isExport(path);
}

Replaceable nestc::replaceableByExport() {
  return {isReplaceable,
          "a new path, a file, a nestc package or an earlier export"};
}

Status nestc::exportCheckpoint(const ExportRequest &request) {
  std::string nestPath = joinPath(request.directory, "nest.json");
  NEST_RT_ASSIGN(Json config,
                 readJsonFile(joinPath(request.directory, "config.json")));
  Json nestJson;
  if (fileExists(nestPath)) {
    NEST_RT_ASSIGN(nestJson, readJsonFile(nestPath));
  }
  NEST_RT_ASSIGN(NestJson nest, NestJson::read(request.directory));
  if (request.family->ownConfig)
    config = request.family->ownConfig(config);
  Exporter exporter(request, std::move(config), std::move(nestJson),
                    std::move(nest));
  NEST_RT_TRY(exporter.check());
  NEST_RT_ASSIGN(
      AtomicDirectory directory,
      AtomicDirectory::create(request.output, replaceableByExport()));
  Status status = exporter.write(directory.tempPath());
  if (status.ok())
    return directory.commit();
  return inOutput(status.takeError(), directory.tempPath(), request.output);
}
