//===- NestRows.td - operations on sets of rows -*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Included by NestOps.td. Sources make families of row sets, `nest.on` runs
// bodies on them; the other operations are what `nest-expand-rows` makes of it.
//
// A *packed* stream has the type of a stream, [B, T, D]. Its rows, counted
// through batch and rows, are those of a family: set after set, in each the
// rows of one sequence after the other, ascending. What stands behind the last
// row of the family is undefined.
//
//===----------------------------------------------------------------------===//

#ifndef NEST_ROWS_TD
#define NEST_ROWS_TD

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

def Nest_SelectOp : Nest_GraphOp<"select"> {
  let summary = "The rows of each sequence with the largest scores, or above a threshold";
  let description = [{
    `capacity`: the rows with the largest scores; of equal ones the lowest. -0
    equals +0; a NaN ranks below everything, and is selected only when no other
    candidate is left. `threshold`: the rows whose score is greater. With
    `within`, scores are packed by that single set, and rows of it are selected.
  }];
  let arguments = (ins Nest_StreamType:$scores, Optional<Nest_RowsType>:$within,
                       OptionalAttr<Nest_CapacityAttr>:$capacity,
                       OptionalAttr<F32Attr>:$threshold);
  let results = (outs Nest_RowsType:$rows);
  let assemblyFormat = [{
    $scores (`within` $within^)? (`top` $capacity^)? (`above` $threshold^)? attr-dict
    `:` functional-type(operands, results)
  }];
}

def Nest_PartitionOp : Nest_GraphOp<"partition"> {
  let summary = "Rows by a value that the input gives, as a modality";
  let description = [{
    Row r is in set `sets[ids[r]]`. A value of -1 in `sets` stands for one that
    is not accepted.
  }];
  let arguments = (ins Nest_IdsType:$ids, DenseI64ArrayAttr:$sets);
  let results = (outs Nest_RowsType:$rows);
  let assemblyFormat = "$ids `sets` $sets attr-dict `:` functional-type(operands, results)";
}

def Nest_AssignOp : Nest_GraphOp<"assign"> {
  let summary = "Rows by the slot of their choice: the n-th largest score";
  let description = [{
    Row r is in set s when scores[r, s] is the `choice`-th largest of its scores
    (0 is the largest); of equal ones the lowest slot comes first. A NaN ranks
    below everything. With `within`, scores are packed by that single set.
  }];
  let arguments = (ins Nest_StreamType:$scores, Optional<Nest_RowsType>:$within,
                       I64Attr:$choice);
  let results = (outs Nest_RowsType:$rows);
  let assemblyFormat = [{
    $scores (`within` $within^)? `choice` $choice attr-dict
    `:` functional-type(operands, results)
  }];
}

def Nest_PickOp : Nest_GraphOp<"pick"> {
  let summary = "Some neighbouring sets of a family";
  let arguments = (ins Nest_RowsType:$family, I64Attr:$first, I64Attr:$count);
  let results = (outs Nest_RowsType:$rows);
  let assemblyFormat = [{
    $family `from` $first `count` $count attr-dict `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// The region operation
//===----------------------------------------------------------------------===//

def Nest_OnOp : Nest_Op<"on", [RecursiveMemoryEffects, AttrSizedOperandSegments]> {
  let summary = "Runs bodies on sets of rows";
  let description = [{
    Body i gets the rows of set i of `gathered`, packed, and yields packed
    streams, then the values that it carries. The rows return into `bases`: there
    they replace those of the set, and every other row stays. Without `bases`
    the family covers, and the results are assembled of all its rows. Sets
    behind the last body are left alone. Bodies capture freely. Only a single
    set carries values.
  }];
  let arguments = (ins Nest_RowsType:$rows, Variadic<Nest_AnyRows>:$gathered,
                       Variadic<Nest_StreamType>:$bases,
                       Variadic<AnyRankedTensor>:$carried);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = [{
    $rows (`gather` `(` $gathered^ `)`)? (`into` `(` $bases^ `)`)?
    (`carry` `(` $carried^ `)`)? attr-dict `:` functional-type(operands, results)
    $bodies
  }];
  let hasRegionVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Packed streams
//===----------------------------------------------------------------------===//

def Nest_GatherOp : Nest_GraphOp<"gather"> {
  let summary = "The rows of a family, packed";
  let arguments = (ins Nest_AnyRows:$x, Nest_RowsType:$rows);
  let results = (outs Nest_AnyRows:$result);
  let assemblyFormat = "$x `by` $rows attr-dict `:` functional-type(operands, results)";
}

def Nest_SpreadOp : Nest_GraphOp<"spread"> {
  let summary = "Packed rows back where they came from, over a base";
  let arguments = (ins Nest_StreamType:$x, Nest_RowsType:$rows,
                       Optional<Nest_StreamType>:$base);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    $x `by` $rows (`into` $base^)? attr-dict `:` functional-type(operands, results)
  }];
}

def Nest_PerSetOp : Nest_GraphOp<"per_set"> {
  let summary = "One weight or bias for each set of a family";
  let description = [{
    Legal as the weight or the bias of an operation on a stream that is packed by
    `rows`: a row of set i takes value i.
  }];
  let arguments = (ins Nest_RowsType:$rows, Variadic<Nest_MatrixType>:$values);
  let results = (outs Nest_MatrixType:$result);
  let assemblyFormat = "$rows `(` $values `)` attr-dict `:` functional-type(operands, results)";
}

def Nest_ScaleOp : Nest_GraphOp<"scale"> {
  let summary = "Every row times its weight, one of its weights";
  let arguments = (ins Nest_StreamType:$x, Nest_StreamType:$weights,
                       DefaultValuedAttr<I64Attr, "0">:$column);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    $x `by` $weights (`column` $column^)? attr-dict `:` functional-type(operands, results)
  }];
  let useCustomPropertiesEncoding = 1; // NestDialect.cpp: what version 1 had
}

def Nest_ChosenOp : Nest_GraphOp<"chosen"> {
  let summary = "Of every row of a family the score of its set, packed";
  let arguments = (ins Nest_StreamType:$scores, Nest_RowsType:$rows);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "$scores `by` $rows attr-dict `:` functional-type(operands, results)";
}

def Nest_SoftmaxOp : Nest_GraphOp<"softmax"> {
  let summary = "Softmax over the last dimension, or over the rows of each sequence";
  let description = [{
    Without `over_rows` over the last dimension. With it over the rows of each
    sequence, column by column; with `by` these are the rows of the set that x is
    packed by.
  }];
  let arguments = (ins Nest_StreamType:$x, Optional<Nest_RowsType>:$rows,
                       UnitAttr:$over_rows);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    $x (`over_rows` $over_rows^)? (`by` $rows^)? attr-dict `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// Rows counted along a sequence
//===----------------------------------------------------------------------===//

def Nest_AdvanceOp : Nest_GraphOp<"advance"> {
  let summary = "Lengths, longer by the rows of each sequence";
  let description = [{
    By those of the call, of which `ids` has one element each; with `by`, by those
    in the family.
  }];
  let arguments = (ins Nest_IdsType:$lengths, Nest_IdsType:$ids,
                       Optional<Nest_RowsType>:$rows);
  let results = (outs Nest_IdsType:$result);
  let assemblyFormat = [{
    $lengths `,` $ids (`by` $rows^)? attr-dict `:` functional-type(operands, results)
  }];
}

def Nest_RankOp : Nest_GraphOp<"rank"> {
  let summary = "Of every row its number in its sequence, counted from lengths on";
  let description = [{
    lengths[b] + t; with `by`, packed: lengths[b] and the number of rows of
    sequence b in the set before this one.
  }];
  let arguments = (ins Nest_IdsType:$lengths, Nest_IdsType:$ids,
                       Optional<Nest_RowsType>:$rows);
  let results = (outs Nest_IdsType:$result);
  let assemblyFormat = [{
    $lengths `,` $ids (`by` $rows^)? attr-dict `:` functional-type(operands, results)
  }];
}

#endif // NEST_ROWS_TD
