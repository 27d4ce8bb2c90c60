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
  if (size_t dots = text.find(".."); dots != StringRef::npos) {
    // Both ends must be widths before the range is refused as such.
    for (StringRef end : {text.take_front(dots), text.drop_front(dots + 2)})
      if (end.contains("..") || !parse(end, place, error)) {
        if (end.contains(".."))
          return fail(error, Syntax, place, "'" + text + "' is no width",
                      kLegalWidths);
        return std::nullopt;
      }
    return fail(error, Illegal, place,
                "a width that stays open until run time is not supported yet",
                kLegalWidths);
  }
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

std::optional<int64_t> WidthValue::resolve(int64_t size, StringRef place,
                                           SubmodelError &error) const {
  int64_t width = size;
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
                "legal are 1 to " + Twine(size) + ", which is what is stored");
  return width;
}

//===----------------------------------------------------------------------===//
// SubmodelSpec
//===----------------------------------------------------------------------===//

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

    // Built later than the ground floor; known here so that the refusal is
    // not taken for a spelling mistake.
    bool known = key == "modalities" || key == "preset" ||
                 key.starts_with("routes.") ||
                 (key.starts_with("layers.") && key.ends_with(".heads"));
    if (known)
      return fail(error, Illegal, place, "'" + key + "' is not supported yet",
                  "supported are layers.SEL.ffn and skip");

    Entry entry;
    entry.text = part.str();
    StringRef selector;
    if (key == "skip") {
      entry.key = Entry::Key::Skip;
      selector = value;
    } else if (key.starts_with("layers.") && key.ends_with(".ffn")) {
      entry.key = Entry::Key::Ffn;
      selector = key.drop_front(strlen("layers.")).drop_back(strlen(".ffn"));
    } else {
      std::string near =
          nearestName(key, {"layers.all.ffn", "skip", "modalities", "preset"});
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
    if (entry.key == Entry::Key::Ffn) {
      std::optional<WidthValue> width = WidthValue::parse(value, place, error);
      if (!width)
        return std::nullopt;
      entry.value = *width;
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

AxisTable AxisTable::get(mlir::ModuleOp module) {
  AxisTable table;
  for (auto axis : module.getOps<nest::AxisOp>())
    table.axes[axis.getSymName()] = {static_cast<int64_t>(axis.getSize()),
                                     SmallVector<int64_t>(axis.getLevels())};
  if (auto model =
          module->getAttrOfType<mlir::DictionaryAttr>(nest::kModelAttr))
    if (auto layers = model.getAs<mlir::IntegerAttr>("num_layers"))
      table.numLayers = layers.getInt();
  // A module written by hand may say nothing of its depth.
  module.walk([&](nest::LayerOp layer) {
    table.numLayers = std::max<int64_t>(table.numLayers, layer.getIndex() + 1);
  });
  return table;
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
    for (int64_t layer : *layers) {
      std::string name = AxisTable::name(layer, "ffn");
      auto axis = table.axes.find(name);
      if (axis == table.axes.end())
        return fail(error, Illegal, place, "there is no axis " + name,
                    table.axes.empty()
                        ? Twine("the module has no nested axis (was it "
                                "specialised already?)")
                        : Twine("nest.axis operations list the axes"));
      std::optional<int64_t> width =
          entry.value.resolve(axis->second.size, place, error);
      if (!width)
        return std::nullopt;
      binding.widths[name] = *width;
    }
  }

  // One warning for each width that was never trained, not one for each layer.
  std::map<std::pair<int64_t, std::string>, SmallVector<int64_t>> untrained;
  for (int64_t layer = 0; layer < table.numLayers; ++layer) {
    std::string name = AxisTable::name(layer, "ffn");
    auto axis = table.axes.find(name);
    if (axis == table.axes.end() || binding.skipped[layer])
      continue;
    int64_t width = binding.widths[name];
    const auto &levels = axis->second.levels;
    if (width == axis->second.size || llvm::is_contained(levels, width))
      continue;
    std::string known;
    for (int64_t level : levels)
      known += (known.empty() ? "" : ", ") + std::to_string(level);
    untrained[{width, known}].push_back(layer);
  }
  for (const auto &[key, layers] : untrained) {
    std::string list;
    for (int64_t layer : layers)
      list += (list.empty() ? "" : "+") + std::to_string(layer);
    binding.warnings.push_back(
        "layers." + list + ".ffn: the width " + std::to_string(key.first) +
        " is no trained level; levels are " + key.second);
  }
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
