//===- Submodel.cpp - what --submodel says --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Submodel.h"

#include "dialect/Nest.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <algorithm>

using namespace llvm;

namespace nestc {

std::string SubmodelError::str() const {
  std::string text = place + ": " + message;
  if (!legal.empty())
    text += "; " + legal;
  return text;
}

/// Fills `error`; converts to any empty optional.
static std::nullopt_t fail(SubmodelError &error, SubmodelError::Kind kind,
                           const Twine &place, const Twine &message,
                           const Twine &legal) {
  error = {kind, place.str(), message.str(), legal.str()};
  return std::nullopt;
}

// Named as the enumerators are. NOLINTBEGIN(readability-identifier-naming)
static constexpr auto Syntax = SubmodelError::Kind::Syntax;
static constexpr auto Illegal = SubmodelError::Kind::Illegal;
// NOLINTEND(readability-identifier-naming)

std::string nearestName(StringRef name, ArrayRef<std::string> names) {
  unsigned best = std::max<size_t>(2, name.size() / 3) + 1;
  std::string nearest;
  for (const std::string &candidate : names) {
    if (name.size() > 3 && StringRef(candidate).starts_with(name))
      return candidate; // it was cut short
    unsigned distance = name.edit_distance(candidate, true, best);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

/// Parses decimal digits. What is no number is a syntax error; what does not
/// fit is an illegal value.
static std::optional<int64_t> parseNumber(StringRef text, StringRef legal,
                                          StringRef place,
                                          SubmodelError &error) {
  if (text.empty() || !all_of(text, isDigit))
    return fail(error, Syntax, place, "'" + text + "' is no number", legal);
  int64_t value;
  if (text.getAsInteger(10, value))
    return fail(error, Illegal, place, "the number " + text + " is too large",
                legal);
  return value;
}

//===----------------------------------------------------------------------===//
// LayerSelector
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kLegalLayers =
    "layers are all, odd, even, 7, 0-9 or 0+4+9-24";

std::optional<LayerSelector>
LayerSelector::parse(StringRef text, StringRef place, SubmodelError &error) {
  LayerSelector selector;
  if (text == "all" || text == "*")
    return selector;
  if (text == "odd" || text == "even") {
    selector.kind = text == "odd" ? Kind::Odd : Kind::Even;
    return selector;
  }
  selector.kind = Kind::Ranges;
  SmallVector<StringRef> parts;
  text.split(parts, '+');
  for (StringRef part : parts) {
    auto [first, last] = part.split('-');
    bool isRange = part.contains('-');
    if (part.empty() || !isDigit(part.front()))
      return fail(error, Syntax, place, "'" + text + "' names no layers",
                  kLegalLayers);
    std::optional<int64_t> from =
        parseNumber(first, kLegalLayers, place, error);
    if (!from)
      return std::nullopt;
    std::optional<int64_t> to =
        isRange ? parseNumber(last, kLegalLayers, place, error) : from;
    if (!to)
      return std::nullopt;
    if (*to < *from)
      return fail(error, Syntax, place, "the range " + part + " runs backwards",
                  kLegalLayers);
    selector.ranges.push_back({*from, *to});
  }
  return selector;
}

std::optional<SmallVector<int64_t>>
LayerSelector::resolve(int64_t numLayers, StringRef place,
                       SubmodelError &error) const {
  SmallVector<int64_t> layers;
  if (kind != Kind::Ranges) {
    int64_t first = kind == Kind::Odd ? 1 : 0;
    int64_t step = kind == Kind::All ? 1 : 2;
    for (int64_t layer = first; layer < numLayers; layer += step)
      layers.push_back(layer);
    return layers;
  }
  for (Range range : ranges) {
    if (range.last >= numLayers)
      return fail(error, Illegal, place,
                  "there is no layer " +
                      Twine(std::max(range.first, numLayers)),
                  "the model has layers 0-" + Twine(numLayers - 1));
    for (int64_t layer = range.first; layer <= range.last; ++layer)
      layers.push_back(layer);
  }
  llvm::sort(layers);
  layers.erase(llvm::unique(layers), layers.end());
  return layers;
}

std::string LayerSelector::text(ArrayRef<int64_t> layers, int64_t numLayers) {
  if (static_cast<int64_t>(layers.size()) == numLayers)
    return "all";
  std::string text;
  for (size_t first = 0, next = 0; first < layers.size(); first = next) {
    for (next = first + 1; next < layers.size(); ++next)
      if (layers[next] != layers[next - 1] + 1)
        break;
    text += (text.empty() ? "" : "+") + std::to_string(layers[first]);
    if (next > first + 1)
      text += "-" + std::to_string(layers[next - 1]);
  }
  return text;
}

//===----------------------------------------------------------------------===//
// WidthValue
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kLegalWidths =
    "a width is a fraction (1/2, 1/1), a count (8192) or full";

std::optional<WidthValue> WidthValue::parse(StringRef text, StringRef place,
                                            SubmodelError &error) {
  WidthValue value;
  if (text == "full")
    return value;
  auto [first, second] = text.split('/');
  std::optional<int64_t> number =
      parseNumber(first, kLegalWidths, place, error);
  if (!number)
    return std::nullopt;
  if (!text.contains('/')) {
    value.kind = Kind::Count;
    value.count = *number;
    return value;
  }
  std::optional<int64_t> denominator =
      parseNumber(second, kLegalWidths, place, error);
  if (!denominator)
    return std::nullopt;
  if (*denominator == 0)
    return fail(error, Syntax, place, "'" + text + "' divides by zero",
                kLegalWidths);
  value.kind = Kind::Fraction;
  value.numerator = *number;
  value.denominator = *denominator;
  return value;
}

std::optional<int64_t> WidthValue::resolve(int64_t elements, int64_t group,
                                           StringRef place,
                                           SubmodelError &error) const {
  int64_t size = elements * group, width = size;
  if (kind == Kind::Count)
    width = count;
  if (kind == Kind::Fraction) {
    if (numerator > denominator || numerator == 0)
      return fail(error, Illegal, place,
                  "the fraction " + Twine(numerator) + "/" +
                      Twine(denominator) + " is not above 0 and at most 1",
                  kLegalWidths);
    __int128 product = static_cast<__int128>(size) * numerator;
    if (product % denominator != 0)
      return fail(error, Illegal, place,
                  Twine(numerator) + "/" + Twine(denominator) + " of " +
                      Twine(size) + " is no whole number",
                  kLegalWidths);
    width = static_cast<int64_t>(product / denominator);
  }
  if (width < 1 || width > size)
    return fail(error, Illegal, place,
                "the width " + Twine(width) + " is not there",
                "legal are " + Twine(group) + " to " + Twine(size) +
                    ", which is what is stored");
  if (width % group != 0)
    return fail(error, Illegal, place,
                "the width " + Twine(width) + " splits a group of heads",
                "legal are multiples of " + Twine(group) +
                    ", the query heads of a KV head, up to " + Twine(size));
  return width / group;
}

//===----------------------------------------------------------------------===//
// SubmodelSpec
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kLegalCapacities =
    "a capacity is a part of the rows (1/8, 1/1) or a count of rows (256)";

/// The largest number in a capacity.
static constexpr int64_t kMaxRows = INT32_MAX;

static std::optional<WidthValue> parseCapacity(StringRef text, StringRef place,
                                               SubmodelError &error) {
  auto [first, second] = text.split('/');
  bool isPart = text.contains('/');
  std::optional<int64_t> number =
      parseNumber(first, kLegalCapacities, place, error);
  if (!number)
    return std::nullopt;
  std::optional<int64_t> denominator =
      isPart ? parseNumber(second, kLegalCapacities, place, error) : 0;
  if (!denominator)
    return std::nullopt;
  if (isPart && *denominator == 0)
    return fail(error, Syntax, place, "'" + text + "' divides by zero",
                kLegalCapacities);
  if (*number > kMaxRows || *denominator > kMaxRows ||
      (isPart && *number > *denominator))
    return fail(error, Illegal, place,
                "the capacity " + text + " is above all rows",
                kLegalCapacities);
  WidthValue value;
  value.kind = isPart ? WidthValue::Kind::Fraction : WidthValue::Kind::Count;
  value.numerator = value.count = *number;
  value.denominator = *denominator;
  return value;
}

static bool parseModalities(StringRef text, StringRef place,
                            std::vector<std::string> &names,
                            SubmodelError &error) {
  SmallVector<StringRef> parts;
  text.split(parts, '+');
  for (StringRef part : parts) {
    if (part.empty() || is_contained(names, part)) {
      (void)fail(error, Syntax, place,
                 part.empty() ? Twine("a name is empty")
                              : "'" + part + "' is named twice",
                 "modalities are listed as text+image");
      return false;
    }
    names.push_back(part.str());
  }
  return true;
}

/// VALUE, or LOW..HIGH.
static bool parseWidths(StringRef text, StringRef place,
                        SubmodelSpec::Entry &entry, SubmodelError &error) {
  auto [low, high] = text.split("..");
  bool isRange = text.contains("..");
  if (high.contains("..")) {
    (void)fail(error, Syntax, place, "'" + text + "' is no width",
               kLegalWidths);
    return false;
  }
  std::optional<WidthValue> first = WidthValue::parse(low, place, error);
  std::optional<WidthValue> last =
      first && isRange ? WidthValue::parse(high, place, error) : first;
  if (!last)
    return false;
  entry.value = *last;
  if (!isRange)
    return true;
  if (entry.kind != kFfnAxis) {
    (void)fail(error, Illegal, place,
               "heads cannot stay open until run time: caches have one size",
               "a width for each submodel, of several in one package");
    return false;
  }
  entry.low = *first;
  return true;
}

/// The kind of axis that `layers.SEL.KIND` means; empty for other keys.
static StringRef axisKind(StringRef key) {
  if (!key.starts_with("layers."))
    return "";
  for (StringRef kind : kAxisKinds)
    if (key.size() > StringRef("layers.").size() + kind.size() &&
        key.ends_with(kind) && key[key.size() - kind.size() - 1] == '.')
      return kind;
  return "";
}

std::optional<SubmodelSpec> SubmodelSpec::parse(StringRef text,
                                                SubmodelError &error) {
  static constexpr StringLiteral kLegalKeys =
      "keys are layers.SEL.ffn, layers.SEL.heads, skip, modalities, "
      "routes.SEL.capacity, routes.SEL and preset";
  SubmodelSpec spec;
  if (text.empty())
    return spec;
  SmallVector<StringRef> parts;
  text.split(parts, ',');
  for (StringRef part : parts) {
    std::string place = "submodel '" + text.str() + "'";
    auto [key, value] = part.split('=');
    if (!part.contains('='))
      return fail(error, Syntax, place,
                  part.empty() ? Twine("an entry is empty")
                               : "'" + part + "' is no KEY=VALUE",
                  kLegalKeys);
    place += ", entry '" + part.str() + "'";

    // Known here so that the refusal is not taken for a spelling mistake.
    if (key == "preset")
      return fail(error, Illegal, place,
                  "'" + key + "' names a row of a slicing table",
                  "nestc puts the row in its place: --slices FILE.csv");

    Entry entry;
    entry.text = part.str();
    StringRef selector = key;
    if (key == "skip") {
      entry.key = Entry::Key::Skip;
      selector = value;
    } else if (key == "modalities") {
      entry.key = Entry::Key::Modalities;
      if (!parseModalities(value, place, entry.modalities, error))
        return std::nullopt;
      spec.entries.push_back(std::move(entry));
      continue;
    } else if (entry.kind = axisKind(key); !entry.kind.empty()) {
      entry.key = Entry::Key::Width;
      selector = key.drop_front(StringRef("layers.").size())
                     .drop_back(entry.kind.size() + 1);
    } else if (selector = key; selector.consume_front("routes.") &&
                               selector.consume_back(".capacity")) {
      entry.key = Entry::Key::Capacity;
    } else if (selector = key;
               selector.consume_front("routes.") && !selector.contains('.')) {
      entry.key = Entry::Key::Dense;
      if (value != "dense")
        return fail(error, Syntax, place,
                    "'" + value + "' says nothing of a route",
                    "legal are routes.SEL=dense and routes.SEL.capacity=1/4");
    } else {
      std::string near = nearestName(
          key, {"layers.all.ffn", "layers.all.heads", "skip", "modalities",
                "preset", "routes.all.capacity", "routes.all"});
      return fail(
          error, Syntax, place,
          "unknown key '" + key + "'" +
              (near.empty() ? std::string() : " (did you mean " + near + "?)"),
          kLegalKeys);
    }
    std::optional<LayerSelector> layers =
        LayerSelector::parse(selector, place, error);
    if (!layers)
      return std::nullopt;
    entry.layers = *layers;
    if (entry.key == Entry::Key::Width) {
      if (!parseWidths(value, place, entry, error))
        return std::nullopt;
    }
    if (entry.key == Entry::Key::Capacity) {
      std::optional<WidthValue> capacity = parseCapacity(value, place, error);
      if (!capacity)
        return std::nullopt;
      entry.value = *capacity;
    }
    spec.entries.push_back(std::move(entry));
  }
  return spec;
}

//===----------------------------------------------------------------------===//
// AxisTable and resolution
//===----------------------------------------------------------------------===//

std::string AxisTable::name(int64_t layer, StringRef kind) {
  return ("layers." + Twine(layer) + "." + kind).str();
}

static void readModel(mlir::DictionaryAttr model, AxisTable &table) {
  if (auto layers = model.getAs<mlir::IntegerAttr>("num_layers"))
    table.numLayers = layers.getInt();
  if (auto columns = model.getAs<mlir::IntegerAttr>("head_dim"))
    table.headDim = columns.getInt();
  if (auto names = model.getAs<mlir::ArrayAttr>("modalities"))
    for (mlir::Attribute name : names)
      if (auto text = dyn_cast<mlir::StringAttr>(name))
        table.modalities.push_back(text.str());
  auto routes = model.getAs<mlir::DictionaryAttr>("routes");
  if (!routes)
    return;
  for (mlir::NamedAttribute entry : routes) {
    int64_t layer;
    auto route = dyn_cast<mlir::DictionaryAttr>(entry.getValue());
    auto capacity =
        route ? route.getAs<nest::CapacityAttr>("capacity") : nullptr;
    if (!capacity || entry.getName().strref().getAsInteger(10, layer))
      continue;
    auto ranks = [&](StringRef key) {
      auto rule = route.getAs<mlir::StringAttr>(key);
      return rule && rule == "topk";
    };
    table.routes[layer] = {ranks("select"), ranks("decode"), capacity};
  }
}

AxisTable AxisTable::get(mlir::ModuleOp module) {
  AxisTable table;
  for (auto axis : module.getOps<nest::AxisOp>())
    table.axes[axis.getSymName()] = {static_cast<int64_t>(axis.getSize()),
                                     SmallVector<int64_t>(axis.getLevels()),
                                     axis.getGroup()};
  if (auto model =
          module->getAttrOfType<mlir::DictionaryAttr>(nest::kModelAttr))
    readModel(model, table);
  module.walk([&](mlir::Operation *op) {
    auto norm = dyn_cast<nest::NormOp>(op);
    if (!isa<nest::CutoffOp>(op) && !(norm && !norm.getGroup()))
      return;
    auto type = cast<mlir::RankedTensorType>(op->getResult(0).getType());
    if (auto axis = table.axes.find(nest::getAxis(type, type.getRank() - 1));
        axis != table.axes.end())
      axis->second.hasStatistic = true;
  });
  // A module written by hand may say nothing of its depth.
  module.walk([&](nest::LayerOp layer) {
    table.numLayers = std::max<int64_t>(table.numLayers, layer.getIndex() + 1);
    for (mlir::Value carried :
         layer.getResults().drop_front(layer.getStreams().size()))
      for (mlir::Operation *user : carried.getUsers())
        if (auto reader = user->getParentOfType<nest::LayerOp>()) {
          auto &readers = table.readers[layer.getIndex()];
          if (!llvm::is_contained(readers, reader.getIndex()))
            readers.push_back(reader.getIndex());
        }
  });
  return table;
}

/// Binds the routes of an entry. Layers that are listed have one; of others
/// those are meant that have.
static bool bindRoutes(const SubmodelSpec::Entry &entry,
                       ArrayRef<int64_t> layers, const AxisTable &table,
                       StringRef place, Binding &binding,
                       SubmodelError &error) {
  std::string routed;
  for (const auto &route : table.routes)
    routed += (routed.empty() ? "" : "+") + std::to_string(route.first);
  bool any = false;
  std::string unranked;
  for (int64_t layer : layers) {
    auto route = table.routes.find(layer);
    if (route == table.routes.end()) {
      if (!entry.layers.isListed())
        continue;
      (void)fail(error, Illegal, place,
                 "layer " + Twine(layer) + " has no route",
                 routed.empty() ? Twine("the model has no routes")
                                : "routed are the layers " + routed);
      return false;
    }
    any = true;
    nest::CapacityAttr capacity = route->second.capacity;
    if (entry.key == SubmodelSpec::Entry::Key::Dense) {
      binding.routes[layer] = {};
      continue;
    }
    if (!route->second.ranksInSelect && !route->second.ranksInDecode)
      unranked += (unranked.empty() ? "" : "+") + std::to_string(layer);
    const WidthValue &value = entry.value;
    binding.routes[layer] = nest::CapacityAttr::get(
        capacity.getContext(), value.numerator, value.denominator,
        capacity.getRounding(), capacity.getMinimum());
  }
  if (!any) {
    (void)fail(error, Illegal, place, "none of these layers has a route",
               routed.empty() ? Twine("the model has no routes")
                              : "routed are the layers " + routed);
    return false;
  }
  if (!unranked.empty())
    binding.warnings.push_back("routes." + unranked +
                               ": rows are not ranked there, so a capacity "
                               "changes nothing");
  return true;
}

static bool bindModalities(const SubmodelSpec::Entry &entry,
                           const AxisTable &table, StringRef place,
                           Binding &binding, SubmodelError &error) {
  binding.modalities.assign(table.modalities.size(), false);
  for (const std::string &name : entry.modalities) {
    auto found = llvm::find(table.modalities, name);
    if (found == table.modalities.end()) {
      std::string near = nearestName(name, table.modalities);
      (void)fail(error, Illegal, place,
                 "there is no modality '" + name + "'" +
                     (near.empty() ? "" : " (did you mean " + near + "?)"),
                 table.modalities.empty()
                     ? "the model has no modalities"
                     : "modalities are " + llvm::join(table.modalities, ", "));
      return false;
    }
    binding.modalities[found - table.modalities.begin()] = true;
  }
  return true;
}

/// One warning for each width that was never trained, not one for each layer.
static void warnOfWidths(StringRef kind, const AxisTable &table,
                         Binding &binding) {
  std::map<std::pair<int64_t, std::string>, SmallVector<int64_t>> untrained;
  for (int64_t layer = 0; layer < table.numLayers; ++layer) {
    std::string name = AxisTable::name(layer, kind);
    auto axis = table.axes.find(name);
    if (axis == table.axes.end() || binding.skipped[layer])
      continue;
    const AxisTable::Axis &full = axis->second;
    int64_t size = full.size, group = full.group;
    ArrayRef<int64_t> levels = full.levels;
    int64_t width = binding.widths[name];
    if (width == size || llvm::is_contained(levels, width))
      continue;
    std::string known;
    for (int64_t level : levels)
      known += (known.empty() ? "" : ", ") + std::to_string(level * group);
    untrained[{width * group, known}].push_back(layer);
  }
  for (const auto &[key, layers] : untrained) {
    std::string list;
    for (int64_t layer : layers)
      list += (list.empty() ? "" : "+") + std::to_string(layer);
    binding.warnings.push_back("layers." + list + "." + kind.str() +
                               ": the width " + std::to_string(key.first) +
                               " is no trained level; levels are " +
                               key.second);
  }
}

/// Whether no layer is left without the keys and values that it reads.
static bool checkDonors(const AxisTable &table, const Binding &binding,
                        SubmodelError &error) {
  for (const auto &[donor, readers] : table.readers) {
    if (!binding.skipped[donor])
      continue;
    SmallVector<int64_t> left;
    for (int64_t reader : readers)
      if (!binding.skipped[reader])
        left.push_back(reader);
    if (left.empty())
      continue;
    llvm::sort(left);
    fail(error, Illegal, "submodel entry 'skip'",
         "layer " + Twine(donor) + " is skipped, and layers " +
             LayerSelector::text(left, table.numLayers) +
             " attend over its keys and values",
         "keep layer " + Twine(donor) + ", or skip these layers too");
    return false;
  }
  return true;
}

std::optional<Binding> resolveSubmodel(const SubmodelSpec &spec,
                                       const AxisTable &table,
                                       SubmodelError &error) {
  Binding binding;
  binding.skipped.assign(table.numLayers, false);
  for (const auto &axis : table.axes)
    binding.widths[axis.getKey()] = axis.getValue().size;

  for (const SubmodelSpec::Entry &entry : spec.entries) {
    std::string place = "submodel entry '" + entry.text + "'";
    if (entry.key == SubmodelSpec::Entry::Key::Modalities) {
      if (!bindModalities(entry, table, place, binding, error))
        return std::nullopt;
      continue;
    }
    std::optional<SmallVector<int64_t>> layers =
        entry.layers.resolve(table.numLayers, place, error);
    if (!layers)
      return std::nullopt;
    if (entry.key == SubmodelSpec::Entry::Key::Skip) {
      // A later skip replaces an earlier one, as every key does.
      binding.skipped.assign(table.numLayers, false);
      for (int64_t layer : *layers)
        binding.skipped[layer] = true;
      if (llvm::all_of(binding.skipped, [](bool skip) { return skip; }))
        return fail(error, Illegal, place, "no layer would be left",
                    "keep at least one of the " + Twine(table.numLayers) +
                        " layers");
      continue;
    }
    if (entry.key != SubmodelSpec::Entry::Key::Width) {
      if (!bindRoutes(entry, *layers, table, place, binding, error))
        return std::nullopt;
      continue;
    }
    for (int64_t layer : *layers) {
      std::string name = AxisTable::name(layer, entry.kind);
      auto axis = table.axes.find(name);
      if (axis == table.axes.end())
        return fail(error, Illegal, place, "there is no axis " + name,
                    table.axes.empty()
                        ? Twine("the module has no nested axis (was it "
                                "specialised already?)")
                        : Twine("nest.axis operations list the axes"));
      std::optional<int64_t> width = entry.value.resolve(
          axis->second.size, axis->second.group, place, error);
      if (!width)
        return std::nullopt;
      binding.widths[name] = *width;
      binding.open.erase(name);
      if (!entry.low)
        continue;
      std::optional<int64_t> low = entry.low->resolve(
          axis->second.size, axis->second.group, place, error);
      if (!low)
        return std::nullopt;
      if (axis->second.hasStatistic)
        return fail(error, Illegal, place,
                    "a statistic runs over " + name +
                        ", so that no call can bind its width",
                    "a fixed width for layer " + Twine(layer));
      if (*low > *width)
        return fail(error, Illegal, place, "the range runs backwards",
                    "the smaller width first: 1/8..1/1");
      binding.open[name] = *low;
    }
  }

  if (!checkDonors(table, binding, error))
    return std::nullopt;
  for (StringRef kind : kAxisKinds)
    warnOfWidths(kind, table, binding);
  return binding;
}

std::optional<std::string> lookUpSubmodel(mlir::ModuleOp module, StringRef text,
                                          SubmodelError &error) {
  if (text.empty() || text.contains('='))
    return text.str();
  auto named =
      module->getAttrOfType<mlir::DictionaryAttr>(nest::kSubmodelsAttr);
  std::vector<std::string> names;
  if (named)
    for (mlir::NamedAttribute entry : named) {
      auto spec = dyn_cast<mlir::StringAttr>(entry.getValue());
      if (spec && entry.getName() == text)
        return spec.str();
      names.push_back(entry.getName().str());
    }
  std::string near = nearestName(text, names);
  return fail(error, Illegal, "submodel '" + text + "'",
              Twine("there is no submodel of this name") +
                  (near.empty() ? "" : " (did you mean " + near + "?)"),
              names.empty() ? "the model names no submodels"
                            : "named are " + llvm::join(names, ", "));
}

} // namespace nestc
