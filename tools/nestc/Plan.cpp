//===- Plan.cpp - nestc plan --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Files.h"
#include "lowering/runtime/Json.h"
#include "passes/CostModel.h"
#include "passes/Passes.h"
#include "passes/Submodel.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Frontier.h"
#include "tools/nestc/Model.h"
#include "tools/nestc/Slices.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cstdio>

using namespace mlir;
using namespace nestc;

static const CommandSpec kSpec = {
    "plan",
    "CKPT",
    "choose a submodel that fits a budget",
    {{"-o", "FILE.json", "the submodel, for --submodel of the other commands"},
     {"--budget", "KEY=VALUE",
      "what it may cost at most: params=2.5B, bytes=1.5Gi or macs=900M (per "
      "token); units K, M, B, and of bytes Ki, Mi, Gi"},
     {"--svg", "FILE.svg", "a picture of the submodels to choose from"},
     {"--json", "", "as one JSON object"},
     {"--slices", "FILE.csv", "choose from the rows of this slicing table"}}};

namespace {

/// What a budget may bound.
struct Figure {
  const char *key, *noun;
  int64_t (*of)(const ModelCost &cost);
};

struct Unit {
  const char *name;
  int64_t factor;
  bool ofBytes;
};

struct Budget {
  const Figure *figure = nullptr;
  int64_t limit = 0;
};

} // namespace

static const Figure kFigures[] = {
    {"params", "parameters",
     [](const ModelCost &cost) { return cost.totalParameters; }},
    {"bytes", "bytes of weights",
     [](const ModelCost &cost) { return cost.weightBytes; }},
    {"macs", "multiply-adds per token",
     [](const ModelCost &cost) { return cost.macsPerToken; }}};

static const Unit kUnits[] = {{"", 1, false},
                              {"K", 1'000, false},
                              {"M", 1'000'000, false},
                              {"B", 1'000'000'000, false},
                              {"Ki", int64_t(1) << 10, true},
                              {"Mi", int64_t(1) << 20, true},
                              {"Gi", int64_t(1) << 30, true}};

/// More submodels than this are no choice but a mistake in nest.json.
static constexpr size_t kMaxPoints = 4096;

/// "2.5B" as a number, rounded down; reports and sets `code` when it is none.
static std::optional<int64_t> parseAmount(StringRef text, bool bytes,
                                          const Reporter &reporter, int &code) {
  std::string legal = "a number with a unit of K, M, B";
  legal += bytes ? ", Ki, Mi, Gi, or none" : ", or none";
  auto refuse = [&](ExitCode exit, const std::string &what) {
    code = reporter.fail(exit, {"--budget", what, legal});
    return std::nullopt;
  };
  StringRef whole = text.take_while(llvm::isDigit);
  StringRef rest = text.drop_front(whole.size());
  StringRef part;
  if (rest.consume_front(".")) {
    part = rest.take_while(llvm::isDigit);
    rest = rest.drop_front(part.size());
  }
  auto *unit = llvm::find_if(kUnits, [&](const Unit &known) {
    return rest == known.name && (bytes || !known.ofBytes);
  });
  if (whole.empty() || (part.empty() && text.contains('.')) ||
      unit == std::end(kUnits))
    return refuse(ExitUsage, "'" + text.str() + "' is no amount");
  // Beyond these digits a fraction cannot count.
  part = part.take_front(18);
  int64_t number, fraction = 0, scale = 1;
  if (whole.getAsInteger(10, number) || number > INT64_MAX / unit->factor)
    return refuse(ExitInput, "the amount " + text.str() + " is too large");
  if (!part.empty() && part.getAsInteger(10, fraction))
    fraction = 0;
  for (size_t digit = 0; digit < part.size(); ++digit)
    scale *= 10;
  auto rounded = static_cast<int64_t>(static_cast<__int128>(fraction) *
                                      unit->factor / scale);
  number *= unit->factor;
  if (number > INT64_MAX - rounded)
    return refuse(ExitInput, "the amount " + text.str() + " is too large");
  return number + rounded;
}

static std::optional<Budget> parseBudget(const std::string &text,
                                         const Reporter &reporter, int &code) {
  auto [key, value] = StringRef(text).split('=');
  std::vector<std::string> keys;
  Budget budget;
  for (const Figure &figure : kFigures) {
    keys.push_back(figure.key);
    if (key == figure.key)
      budget.figure = &figure;
  }
  if (!budget.figure || key.size() == text.size()) {
    std::string near = budget.figure ? "" : nearestName(key, keys);
    code = reporter.fail(
        ExitUsage, {"--budget",
                    "'" + text + "' is no budget" +
                        (near.empty() ? "" : " (did you mean " + near + "?)"),
                    "legal are params=2.5B, bytes=1.5Gi, macs=900M"});
    return std::nullopt;
  }
  std::optional<int64_t> limit = parseAmount(
      value, StringRef(budget.figure->key) == "bytes", reporter, code);
  if (!limit)
    return std::nullopt;
  budget.limit = *limit;
  return budget;
}

namespace {

/// One run of the command.
class Planning {
public:
  Planning(const Arguments &arguments, const Reporter &reporter)
      : arguments(arguments), reporter(reporter), model(reporter) {}
  int run();

private:
  int readOptions();
  /// What `info` says of the submodel: the pass is what makes it.
  int computeCostOf(const std::string &submodel, ModelCost &cost);
  int computeFrontier();
  /// The rows of --slices, by what they cost.
  int readSlices();
  /// A table counts parameters without what is only looked up.
  int64_t figureOf(const ModelCost &cost) const {
    return arguments.has("--slices") &&
                   StringRef(budget.figure->key) == "params"
               ? cost.effectiveParameters
               : budget.figure->of(cost);
  }
  void printText() const;
  void printJson() const;
  std::string drawPicture() const;
  rt::Status write() const;

  const Arguments &arguments;
  const Reporter &reporter;
  Model model;
  std::string path, output, picturePath;
  Budget budget;
  AxisTable table;
  ModelCost full;
  std::vector<FrontierPoint> points; ///< from the smallest on
  size_t chosen = 0;
};

} // namespace

int Planning::readOptions() {
  if (int code = checkOnePositional(kSpec, arguments, reporter))
    return code;
  path = arguments.positional[0];
  if (!arguments.has("--budget"))
    return reporter.fail(ExitUsage, {"nestc plan", "there is no budget",
                                     "give it with --budget params=2.5B, "
                                     "bytes=1.5Gi or macs=900M"});
  if (!arguments.has("-o"))
    return reporter.fail(
        ExitUsage, {"nestc plan", "there is no output", "give it with -o"});
  int code = ExitUsage;
  std::optional<Budget> parsed =
      parseBudget(arguments.get("--budget"), reporter, code);
  if (!parsed)
    return code;
  budget = *parsed;
  output = arguments.get("-o");
  picturePath = arguments.get("--svg");
  if (!StringRef(output).ends_with(".json"))
    return reporter.fail(ExitUsage,
                         {"-o", "'" + output + "' does not end in .json",
                          "a name that --submodel takes for a file's"});
  if (output == picturePath)
    return reporter.fail(ExitUsage, {"--svg", "is the same file as -o",
                                     "give each a name of its own"});
  return ExitDone;
}

int Planning::computeCostOf(const std::string &submodel, ModelCost &cost) {
  OwningOpRef<ModuleOp> copy = model.module().clone();
  PassManager manager(&model.context(), ModuleOp::getOperationName());
  manager.enableVerifier(false);
  NestSpecializeOptions options;
  options.submodel = submodel;
  manager.addPass(createNestSpecialize(options));
  if (failed(manager.run(*copy)))
    return model.failLowering("a pass failed", model.print());
  cost = computeCost(*copy);
  return ExitDone;
}

int Planning::readSlices() {
  auto slices = SlicingTable::read(arguments.get("--slices"));
  if (!slices)
    return reporter.fail(ExitInput, slices.error());
  Progress progress(reporter, "computing costs");
  for (const Slice &slice : slices->slices()) {
    FrontierPoint point;
    point.name = slice.name;
    auto widths = widthsOf(slice, table.numLayers);
    if (!widths)
      return reporter.fail(ExitInput, widths.error());
    point.widths = std::move(*widths);
    std::string text = describeWidths(point.widths);
    SubmodelError error;
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
    if (!spec || !resolveSubmodel(*spec, table, error))
      return reporter.fail(ExitInput, {slice.place + ": " + error.place,
                                       error.message, error.legal});
    if (int code = computeCostOf(text, point.cost))
      return code;
    points.push_back(std::move(point));
    progress.update(points.size(), slices->slices().size());
  }
  llvm::sort(points, [&](const FrontierPoint &a, const FrontierPoint &b) {
    return std::make_pair(figureOf(a.cost), a.name) <
           std::make_pair(figureOf(b.cost), b.name);
  });
  return computeCostOf("", full);
}

int Planning::computeFrontier() {
  std::vector<std::vector<int64_t>> frontier = mixAndMatch(table);
  if (frontier.size() < 2)
    return reporter.fail(
        ExitInput,
        {path, "no layer has two trained levels to choose from",
         "name those that the model was trained at in nest.json: {\"format\": "
         "1, \"axes\": {\"layers.all.ffn\": {\"levels\": [\"1/4\", \"1/2\", "
         "\"1\"]}}}"});
  if (frontier.size() > kMaxPoints)
    return reporter.fail(ExitInput,
                         {path,
                          "its levels make " + std::to_string(frontier.size()) +
                              " submodels to choose from",
                          "at most " + std::to_string(kMaxPoints) +
                              "; declare fewer levels in nest.json"});
  Progress progress(reporter, "computing costs");
  for (std::vector<int64_t> &widths : frontier) {
    FrontierPoint point;
    if (int code = computeCostOf(describeWidths(widths), point.cost))
      return code;
    point.widths = std::move(widths);
    points.push_back(std::move(point));
    progress.update(points.size(), frontier.size());
  }
  return computeCostOf("", full);
}

static rt::Json costJson(const ModelCost &cost) {
  rt::Json parameters = rt::Json::object(), json = rt::Json::object();
  parameters.set("total", cost.totalParameters);
  parameters.set("effective", cost.effectiveParameters);
  json.set("parameters", parameters);
  json.set("weight_bytes", cost.weightBytes);
  json.set("macs_per_token", cost.macsPerToken);
  return json;
}

void Planning::printJson() const {
  auto pointJson = [&](const FrontierPoint &point) {
    rt::Json json = costJson(point.cost);
    if (!point.name.empty())
      json.set("preset", point.name);
    json.set("submodel", describeWidths(point.widths));
    json.set("widths", rt::Json::arrayOf(point.widths));
    return json;
  };
  rt::Json json = rt::Json::object(), bound = rt::Json::object();
  bound.set(budget.figure->key, budget.limit);
  json.set("budget", bound);
  json.set("full", costJson(full));
  json.set("chosen", pointJson(points[chosen]));
  rt::Json frontier = rt::Json::array();
  for (const FrontierPoint &point : points) {
    rt::Json item = pointJson(point);
    item.set("fits", figureOf(point.cost) <= budget.limit);
    frontier.push(item);
  }
  json.set("frontier", frontier);
  std::printf("%s\n", json.str(1).c_str());
}

void Planning::printText() const {
  std::printf("budget: %lld %s\n", static_cast<long long>(budget.limit),
              budget.figure->noun);
  std::printf("  %14s %14s %14s %14s  submodel\n", "params", "effective",
              "bytes", "macs");
  auto line = [](char mark, const ModelCost &cost, const std::string &text) {
    std::printf("%c %14lld %14lld %14lld %14lld  %s\n", mark,
                static_cast<long long>(cost.totalParameters),
                static_cast<long long>(cost.effectiveParameters),
                static_cast<long long>(cost.weightBytes),
                static_cast<long long>(cost.macsPerToken), text.c_str());
  };
  line(' ', full, "(the full model)");
  for (size_t index = points.size(); index-- > 0;)
    line(index == chosen ? '*' : ' ', points[index].cost,
         points[index].name.empty() ? describeWidths(points[index].widths)
                                    : points[index].name);
}

std::string Planning::drawPicture() const {
  FrontierPicture picture;
  picture.unit = budget.figure->noun;
  picture.title = "Submodels of " + path + " within " +
                  std::to_string(budget.limit) + " " + picture.unit;
  picture.points = points;
  for (const FrontierPoint &point : points)
    picture.figures.push_back(figureOf(point.cost));
  for (int64_t layer = 0; layer < table.numLayers; ++layer)
    picture.sizes.push_back(
        table.axes.lookup(AxisTable::name(layer, kFfnAxis)).size);
  picture.budget = budget.limit;
  picture.chosen = chosen;
  return drawFrontier(picture);
}

/// Both files or none.
rt::Status Planning::write() const {
  // A file has a width for every layer, also for one that is skipped.
  std::vector<int64_t> widths = points[chosen].widths, skipped;
  for (int64_t layer = 0; layer < table.numLayers; ++layer)
    if (widths[layer] == 0) {
      skipped.push_back(layer);
      widths[layer] = table.axes.lookup(AxisTable::name(layer, kFfnAxis)).size;
    }
  rt::Json spec = rt::Json::object();
  spec.set("widths", rt::Json::arrayOf(widths));
  if (!skipped.empty())
    spec.set("skip", rt::Json::arrayOf(skipped));
  NEST_RT_ASSIGN(rt::AtomicFile file, rt::AtomicFile::create(output));
  NEST_RT_TRY(file.write(spec.str() + "\n"));
  if (!picturePath.empty())
    NEST_RT_TRY(rt::writeFile(picturePath, drawPicture()));
  return file.commit();
}

int Planning::run() {
  if (int code = readOptions())
    return code;
  for (const std::string &file : {output, picturePath})
    if (!file.empty())
      if (int code = model.checkOutput(path, file, /*package=*/false))
        return code;
  if (int code = model.import(path))
    return code;
  table = AxisTable::get(model.module());
  if (int code = arguments.has("--slices") ? readSlices() : computeFrontier())
    return code;
  auto fits = [&](const FrontierPoint &point) {
    return figureOf(point.cost) <= budget.limit;
  };
  if (llvm::none_of(points, fits))
    return reporter.fail(ExitInput,
                         {"--budget",
                          "the smallest submodel of " + path + " has " +
                              std::to_string(figureOf(points.front().cost)) +
                              " " + budget.figure->noun,
                          "a budget of at least that"});
  for (size_t index = 0; index < points.size(); ++index)
    if (fits(points[index]))
      chosen = index;
  if (rt::Status status = write(); status.failed())
    return reporter.fail(ExitInput, status.error());
  if (arguments.has("--json"))
    printJson();
  else
    printText();
  return ExitDone;
}

static int run(const Arguments &arguments, const Reporter &reporter) {
  return Planning(arguments, reporter).run();
}

const Command nestc::planCommand = {kSpec, run};
