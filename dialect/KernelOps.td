//===- KernelOps.td - the kernel dialect -*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef KERNEL_OPS_TD
#define KERNEL_OPS_TD

include "dialect/NestAttrs.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::nestc::kernel";
  let summary = "Fused kernels of a few classes, destination style";
  let description = [{
    The seam between graph passes and code generators: what a program is after
    graph rewriting. Operands are tensors before bufferisation and memrefs
    after it. Leading dimensions of a stream count as rows, in row-major order;
    the last one is the column.

    A family of row sets is four tables of i32, which its source writes:
    `indices` [B, T], of packed row p the row of the source's input that it is;
    `offsets` [n + 1], set s being the packed rows offsets[s] to offsets[s + 1];
    `order` [B, T], of sequence b its j-th row, as a packed row; `counts` [B], how
    many rows sequence b has. An attribute `sets` [first, last) names the part of
    the family that a kernel works on: packed streams hold its rows from row 0
    on, and what stands behind them is neither read nor written.
  }];
  let dependentDialects = ["::nestc::nest::NestDialect", "::mlir::memref::MemRefDialect"];
  let hasRegionArgAttrVerify = 0;
}

// A destination-style kernel: the last operand(s) are written. Results exist on
// tensors only.
class Kernel_DpsOp<string opMnemonic, list<Trait> traits = []>
    : Op<Kernel_Dialect, opMnemonic, !listconcat([
        DestinationStyleOpInterface,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>], traits)> {
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let hasVerifier = 1;
  code dpsInits = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutMutable(); }
  }];
  code neverReadsOutput = [{
    /// Whether the output is read before it is written.
    bool readsOutput() { return false; }
  }];
  code alwaysReadsOutput = [{
    /// Whether the output is read before it is written.
    bool readsOutput() { return true; }
  }];
  let extraClassDeclaration = dpsInits # neverReadsOutput;
}

def Kernel_Shaped : AnyTypeOf<[AnyRankedTensor, AnyStridedMemRef]>;

def Kernel_EmbedOp : Kernel_DpsOp<"embed"> {
  let summary = "out[r, :] = table[ids[r], :] * scale";
  let description = [{
    An id that the table has no row for reads row `unknown`; without one it is
    undefined.
  }];
  let arguments = (ins Kernel_Shaped:$ids, Kernel_Shaped:$table,
                       F32Attr:$scale, OptionalAttr<I64Attr>:$unknown, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $table `:` type($ids) `,` type($table) `)` `scale` $scale (`unknown` $unknown^)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_MatmulOp : Kernel_DpsOp<"matmul", [AttrSizedOperandSegments, SingleBlock]> {
  let summary = "Products of one stream with weight matrices, and an epilogue";
  let description = [{
    acc_i[m, n] = sum over k of a[m, k] * weights_i[n, k], a rounded to the
    weight's element type, accumulated in f32. The region computes out[m, n],
    element by element, from one f32 for each weight, one for each epilogue
    operand (read through its map of (m, n)) and the old value of the output:
    a residual is the old value, never another operand. It may hold only
    elementwise scalar operations and constants, and yields an f32.

    With `rows` (offsets, or offsets and indices) m runs over the packed rows of
    `sets`. `gathers`: row m of a is row indices[m]; `scatters`: row m of the
    output is. Epilogue operands are packed, but for those whose map `indexed`
    names: of them it is row indices[m] too. With `groups` G, the number of sets,
    weights are G for each product, one a set, product after product; an operand
    whose map is (m, n, s) -> (s, n) stands for G operands, one a set.

    With `workspace` (f32 [S, R, C] and tickets, i32) the sums over k may be made
    in S parts where there are at most R packed rows: workspace[s, r, :] holds
    part s of row r, in an order that is the generator's. Tickets count the parts
    that are there; they are zero before and after the kernel.

    An RMS norm of the output is in two parts. The kernel that makes the output
    writes `scaled`, what the region yields times `gains` (one vector, one a
    group, or none), and `squares`, its squares summed over every `normSlice`
    columns of a row; for several norms of it, `scaled` and gains of each. With
    `scatters` they are scattered as the output is. The kernel that takes `scaled` as its a has these sums as
    `normed`: every acc_i[m, n] is multiplied by the reciprocal square root of
    their mean over the columns of a plus `epsilon`.

    `columnBound` (i32 [1]) is a number n of columns, `depthBound` one of k, that
    a call binds: only the first n columns of the output have a meaning (a
    generator may write zeros, and nothing else, behind them), and sums run over
    the first k.
  }];
  let arguments = (ins Kernel_Shaped:$a, Optional<Kernel_Shaped>:$normed,
                       Variadic<Kernel_Shaped>:$weights,
                       Variadic<Kernel_Shaped>:$epilogue,
                       Optional<Kernel_Shaped>:$offsets, Optional<Kernel_Shaped>:$indices,
                       Optional<Kernel_Shaped>:$workspace, Optional<Kernel_Shaped>:$tickets,
                       Optional<Kernel_Shaped>:$columnBound, Optional<Kernel_Shaped>:$depthBound,
                       Variadic<Kernel_Shaped>:$gains, Kernel_Shaped:$out,
                       Variadic<Kernel_Shaped>:$scaled, Optional<Kernel_Shaped>:$squares,
                       AffineMapArrayAttr:$maps,
                       OptionalAttr<DenseI64ArrayAttr>:$sets, DefaultValuedAttr<I64Attr, "1">:$groups,
                       UnitAttr:$gathers, UnitAttr:$scatters,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$indexed, OptionalAttr<F32Attr>:$epsilon);
  let regions = (region SizedRegion<1>:$region);
  let assemblyFormat = [{
    `ins` `(` $a `:` type($a) `)`
    (`normed` `(` $normed^ `:` type($normed) `)` `epsilon` $epsilon)?
    `weights` `(` $weights `:` type($weights) `)`
    (`epilogue` `(` $epilogue^ `:` type($epilogue) `)`)? `by` $maps
    (`rows` `(` $offsets^ (`,` $indices^ `:` type($indices))? `:` type($offsets) `)` `sets` $sets)?
    (`gathers` $gathers^)? (`scatters` $scatters^)? (`indexed` $indexed^)?
    (`workspace` `(` $workspace^ `,` $tickets `:` type($workspace) `,` type($tickets) `)`)?
    (`columns` `(` $columnBound^ `:` type($columnBound) `)`)? (`depth` `(` $depthBound^ `:` type($depthBound) `)`)?
    (`gains` `(` $gains^ `:` type($gains) `)`)?
    `outs` `(` $out `:` type($out) `)`
    (`scaled` `(` $scaled^ `:` type($scaled) `)`)? (`squares` `(` $squares^ `:` type($squares) `)`)?
    attr-dict-with-keyword $region (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    /// The output, and where they are, `scaled` and `squares`.
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(
          getOperation(), getOutMutable().getOperandNumber(),
          1 + getScaled().size() + (getSquares() ? 1 : 0));
    }
    /// The block argument that holds the output's old value.
    ::mlir::BlockArgument getOldValue() {
      return getRegion().front().getArguments().back();
    }
    /// Whether the output is read before it is written.
    bool readsOutput() { return getScatters() || !getOldValue().use_empty(); }
    /// Products: weights of each set.
    unsigned getNumProducts() { return getWeights().size() / getGroups(); }
    /// The gains of the i-th `scaled`: none, one, or one a group.
    ::mlir::OperandRange getGainsOf(unsigned i) {
      size_t each = getGains().size() / getScaled().size();
      return getGains().slice(i * each, each);
    }
  }];
}

def Kernel_ProjectOp : Kernel_DpsOp<"project", [AttrSizedOperandSegments]> {
  let summary = "Products of one stream with several matrices, turned and appended to caches";
  let description = [{
    Segment i is a product of `a` with weights_i, as kernel.matmul's, that is
    written to outs_i. What an f32 sum goes through on the way, where the lists
    name its segment: a bias is added; the head of the sum (columns
    h * head_dim to (h + 1) * head_dim) is divided by the root of its mean
    square plus `epsilon` and multiplied by a vector of a head's columns; the
    head is turned by the table, as kernel.rope does. Then it is rounded, once.

    A destination of rank 4 is a cache, which the rows are appended to as
    kernel.cache_append does; another one is a stream.

    With `squares` rows of a are those of a norm, as those of kernel.matmul with
    `normed`: a sum is multiplied by the factor of its row before all else.

    With `rows` a and streams are packed, or `gathers`: row m of a is row
    indices[m]. So is the table; `table_gathers`: row m is turned by the table's
    row indices[m]. Caches take packed rows by order and counts. With `groups` G, the
    number of sets, there are G weights, biases and norms for each segment that
    has them, segment after segment. `workspace` is that of kernel.matmul.
  }];
  let arguments = (ins Kernel_Shaped:$a, Optional<Kernel_Shaped>:$squares,
                       Variadic<Kernel_Shaped>:$weights, Variadic<Kernel_Shaped>:$biases, Variadic<Kernel_Shaped>:$norms,
                       Optional<Kernel_Shaped>:$table, Optional<Kernel_Shaped>:$lengths,
                       Optional<Kernel_Shaped>:$offsets, Optional<Kernel_Shaped>:$indices,
                       Optional<Kernel_Shaped>:$order, Optional<Kernel_Shaped>:$counts,
                       Optional<Kernel_Shaped>:$workspace, Optional<Kernel_Shaped>:$tickets,
                       Variadic<Kernel_Shaped>:$out, I64Attr:$headDim,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$biased,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$normed,
                       OptionalAttr<F32Attr>:$epsilon, OptionalAttr<F32Attr>:$rowEpsilon,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$turned,
                       OptionalAttr<DenseI64ArrayAttr>:$sets, DefaultValuedAttr<I64Attr, "1">:$groups,
                       UnitAttr:$gathers, UnitAttr:$tableGathers);
  let assemblyFormat = [{
    `ins` `(` $a `:` type($a) `)`
    (`normed` `(` $squares^ `:` type($squares) `)` `epsilon` $rowEpsilon)?
    `weights` `(` $weights `:` type($weights) `)`
    (`bias` `(` $biases^ `:` type($biases) `)` `of` $biased)?
    (`norm` `(` $norms^ `:` type($norms) `)` `of` $normed `epsilon` $epsilon)?
    (`rope` `(` $table^ `:` type($table) `)` `of` $turned)?
    `head_dim` $headDim
    (`lengths` `(` $lengths^ `:` type($lengths) `)`)?
    (`rows` `(` $offsets^ (`,` $indices^ `:` type($indices))? `:` type($offsets) `)` `sets` $sets)?
    (`order` `(` $order^ `,` $counts `:` type($order) `,` type($counts) `)`)?
    (`gathers` $gathers^)? (`table_gathers` $tableGathers^)?
    (`workspace` `(` $workspace^ `,` $tickets `:` type($workspace) `,` type($tickets) `)`)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # [{
    /// A head that is normalised has at most as many columns, so that it fits
    /// a tile; so has one that is turned, unless it is cut into pairs.
    static constexpr int64_t mostHeadDim = 128;

    /// The matrices of a segment, one a set.
    ::mlir::OperandRange getWeightsOf(unsigned segment) {
      return getWeights().slice(segment * getGroups(), getGroups());
    }
    /// The vectors of a segment, one a set; empty if it has none.
    ::mlir::OperandRange getBiasesOf(unsigned segment);
    ::mlir::OperandRange getNormsOf(unsigned segment);
    bool isTurned(unsigned segment) {
      return ::llvm::is_contained(getTurned(), segment);
    }
    bool isCache(unsigned segment) {
      return ::mlir::cast<::mlir::ShapedType>(getOut()[segment].getType()).getRank() == 4;
    }
    /// Whether heads of `headDim` columns can be turned by a table of `rotary`
    /// columns, 0 for none, and be normalised.
    static bool fitsTiles(int64_t headDim, int64_t rotary, bool isNormed) {
      if (headDim <= mostHeadDim)
        return true;
      return !isNormed && rotary % 16 == 0 && (headDim - rotary) % 16 == 0;
    }
    /// Caches keep what is not appended.
    bool readsOutput();
  }];
}

def Kernel_RowwiseOp : Kernel_DpsOp<"rowwise", [SingleBlock, AttrSizedOperandSegments]> {
  let summary = "Sums over groups of columns, then elementwise code";
  let description = [{
    Columns are cut into groups of `group`. Every region but the last is a round
    of sums: from one f32 for each input (read through its map of (row, column,
    column in the group)) and all sums of earlier rounds, it yields values that
    are summed over the group. The last region sees inputs, all sums and the
    output's old value, and yields out[row, column]. The elements
    of `further` outputs come behind that. Regions hold elementwise scalar
    operations and constants only. An input may be a matrix, of which all rows
    of the output read one row, or one element.

    `rows`, `gathers` (every input read by row), `scatters` and `groups` are
    those of kernel.matmul; the map of an input with one vector a set is
    (row, column, in group, s) -> (s, column) or (s, in group).
  }];
  let arguments = (ins Variadic<Kernel_Shaped>:$inputs,
                       Optional<Kernel_Shaped>:$offsets, Optional<Kernel_Shaped>:$indices,
                       Kernel_Shaped:$out, Variadic<Kernel_Shaped>:$further,
                       AffineMapArrayAttr:$maps, I64Attr:$group,
                       OptionalAttr<DenseI64ArrayAttr>:$sets, DefaultValuedAttr<I64Attr, "1">:$groups,
                       UnitAttr:$gathers, UnitAttr:$scatters);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = [{
    `ins` `(` ($inputs^ `:` type($inputs))? `by` $maps `)` `group` $group
    (`rows` `(` $offsets^ (`,` $indices^ `:` type($indices))? `:` type($offsets) `)` `sets` $sets)?
    (`gathers` $gathers^)? (`scatters` $scatters^)?
    `outs` `(` $out `:` type($out) `)` (`further` `(` $further^ `:` type($further) `)`)?
    attr-dict-with-keyword $bodies (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    /// The output and the further ones, of which no old value is read.
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(
          getOperation(), getOutMutable().getOperandNumber(),
          1 + getFurther().size());
    }
    ::mlir::BlockArgument getOldValue() {
      return getBodies().back().front().getArguments().back();
    }
    bool readsOutput() { return getScatters() || !getOldValue().use_empty(); }
  }];
}

def Kernel_RopeTableOp : Kernel_DpsOp<"rope_table"> {
  let summary = "out[r, i] = cos, out[r, n + i] = sin of positions[r] * frequencies[i], times magnitude";
  let arguments = (ins Kernel_Shaped:$positions, Nest_RopeAttr:$rope,
                       Optional<Kernel_Shaped>:$offsets, Kernel_Shaped:$out,
                       OptionalAttr<DenseI64ArrayAttr>:$sets);
  let assemblyFormat = [{
    `ins` `(` $positions `:` type($positions) `)` $rope
    (`rows` `(` $offsets^ `:` type($offsets) `)` `sets` $sets)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_RopeOp : Kernel_DpsOp<"rope"> {
  let summary = "Turns every head of the output's rows in place, by a table";
  let arguments = (ins Kernel_Shaped:$table, I64Attr:$headDim,
                       Optional<Kernel_Shaped>:$offsets, Kernel_Shaped:$out,
                       OptionalAttr<DenseI64ArrayAttr>:$sets);
  let assemblyFormat = [{
    `ins` `(` $table `:` type($table) `)` `head_dim` $headDim
    (`rows` `(` $offsets^ `:` type($offsets) `)` `sets` $sets)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # alwaysReadsOutput;
}

def Kernel_CacheAppendOp : Kernel_DpsOp<"cache_append", [AttrSizedOperandSegments]> {
  let summary = "out[b, h, lengths[b] + t, :] = rows[b, t, h * D : (h + 1) * D]";
  let description = [{
    With `rows` (offsets, order, counts), for every j below counts[b]:
    out[b, h, lengths[b] + j, :] is packed row order[b, j]. A cache of positions
    is i32 [B, C], and rows are [B, T].
  }];
  let arguments = (ins Kernel_Shaped:$rows, Kernel_Shaped:$lengths,
                       Optional<Kernel_Shaped>:$offsets, Optional<Kernel_Shaped>:$order,
                       Optional<Kernel_Shaped>:$counts, Kernel_Shaped:$out,
                       OptionalAttr<DenseI64ArrayAttr>:$sets);
  let assemblyFormat = [{
    `ins` `(` $rows `,` $lengths `:` type($rows) `,` type($lengths) `)`
    (`rows` `(` $offsets^ `,` $order `,` $counts `:` type($offsets) `,` type($order) `,` type($counts) `)` `sets` $sets)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  // Rows of the cache that are not written keep their value.
  let extraClassDeclaration = dpsInits # alwaysReadsOutput;
}

def Kernel_AttentionOp : Kernel_DpsOp<"attention", [AttrSizedOperandSegments]> {
  let summary = "Attention over a cache; one softmax in f32";
  let description = [{
    With `rows` (offsets, indices, order, counts), queries and output are packed:
    the j-th query of sequence b, j below counts[b], is row order[b, j]. Its cache
    index is lengths[b] + j when `compact` (the caches took the counts[b] rows of
    this call), else lengths[b] + indices[order[b, j]] - b * T (they took T). A
    window and the distances of alibi count the cache's rows, or with `positions`
    [B, C] what these say of them.

    `workspace` and tickets are those of kernel.matmul: workspace[s, :, :] holds
    what part s of the keys gives the rows of a head.

    Without `lengths` there is no cache: k and v are the rows of this call.

    `rounds` permits to round queries, and the weights of the softmax before they
    multiply values, to the type of the caches; q may then be stored in it.
  }];
  let arguments = (ins Kernel_Shaped:$q, Kernel_Shaped:$k, Kernel_Shaped:$v,
                       Optional<Kernel_Shaped>:$lengths, Optional<Kernel_Shaped>:$positions,
                       Optional<Kernel_Shaped>:$offsets, Optional<Kernel_Shaped>:$indices,
                       Optional<Kernel_Shaped>:$order, Optional<Kernel_Shaped>:$counts,
                       Optional<Kernel_Shaped>:$workspace, Optional<Kernel_Shaped>:$tickets,
                       F32Attr:$scale, Nest_MaskAttr:$mask, Kernel_Shaped:$out,
                       OptionalAttr<DenseI64ArrayAttr>:$sets, UnitAttr:$compact,
                       UnitAttr:$rounds);
  let assemblyFormat = [{
    `ins` `(` $q `,` $k `,` $v (`,` $lengths^)? `:` type($q) `,` type($k) `,` type($v) (`,` type($lengths)^)? `)`
    (`positions` `(` $positions^ `:` type($positions) `)`)?
    (`rows` `(` $offsets^ `,` $indices `,` $order `,` $counts `:` type($offsets) `,` type($indices) `,` type($order) `,` type($counts) `)`
     `sets` $sets)? (`compact` $compact^)? (`rounds` $rounds^)?
    (`workspace` `(` $workspace^ `,` $tickets `:` type($workspace) `,` type($tickets) `)`)?
    `scale` $scale $mask `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_LastRowsOp : Kernel_DpsOp<"last_rows"> {
  let summary = "out[b, 0, :] = x[b, T - 1, :]";
  let description = [{ With `order`, x is packed: out[b, 0, :] = x[order[b, T - 1], :]. }];
  let arguments = (ins Kernel_Shaped:$x, Optional<Kernel_Shaped>:$order, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)` (`order` `(` $order^ `:` type($order) `)`)? `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_ArgmaxOp : Kernel_DpsOp<"argmax", [AttrSizedOperandSegments]> {
  let summary = "out[r] = the column of the largest number of x[r, :]";
  let description = [{
    As nest.argmax. With `workspace`, blocks may take parts of a row's columns.
  }];
  let arguments = (ins Kernel_Shaped:$x, Optional<Kernel_Shaped>:$workspace,
                       Optional<Kernel_Shaped>:$tickets, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)`
    (`workspace` `(` $workspace^ `,` $tickets `:` type($workspace) `,` type($tickets) `)`)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_RemapOp : Kernel_DpsOp<"remap"> {
  let summary = "out[i] = x[map(i)], 0 where x has none; or added to the old value";
  let arguments = (ins Kernel_Shaped:$x, AffineMapAttr:$map, UnitAttr:$adds, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)` `by` $map (`adds` $adds^)? `outs` `(` $out `:` type($out) `)`
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # [{
    bool readsOutput() { return getAdds(); }
  }];
}

//===----------------------------------------------------------------------===//
// Row sets
//===----------------------------------------------------------------------===//

// A source writes the four tables of a family. With `within`, its input is
// packed by the single set of another: indices are packed rows of that, and the
// outer order and counts say which rows belong to a sequence.
class Kernel_SourceOp<string opMnemonic, list<Trait> traits = []> : Kernel_DpsOp<opMnemonic, traits> {
  code tables = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(
          getOperation(), getIndicesMutable().getOperandNumber(), 4);
    }
    /// Every table is written as far as it is read.
    bool readsOutput() { return false; }
  }];
}

def Kernel_SelectOp : Kernel_SourceOp<"select", [AttrSizedOperandSegments]> {
  let summary = "The rows of each sequence with the largest scores, or above a threshold";
  let description = [{ As nest.select; scores are [B, T, 1]. }];
  let arguments = (ins Kernel_Shaped:$scores, Optional<Kernel_Shaped>:$outerOffsets,
                       Optional<Kernel_Shaped>:$outerOrder, Optional<Kernel_Shaped>:$outerCounts,
                       Kernel_Shaped:$indices, Kernel_Shaped:$offsets,
                       Kernel_Shaped:$order, Kernel_Shaped:$counts,
                       OptionalAttr<Nest_CapacityAttr>:$capacity, OptionalAttr<F32Attr>:$threshold,
                       OptionalAttr<DenseI64ArrayAttr>:$outerSets);
  let assemblyFormat = [{
    `ins` `(` $scores `:` type($scores) `)`
    (`within` `(` $outerOffsets^ `,` $outerOrder `,` $outerCounts `:` type($outerOffsets) `,` type($outerOrder) `,` type($outerCounts) `)` `sets` $outerSets)?
    (`top` $capacity^)? (`above` $threshold^)?
    `outs` `(` $indices `,` $offsets `,` $order `,` $counts `:` type($indices) `,` type($offsets) `,` type($order) `,` type($counts) `)`
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = tables;
}

def Kernel_PartitionOp : Kernel_SourceOp<"partition"> {
  let summary = "Rows by the set of their id: a stable counting sort";
  let description = [{ As nest.partition; ids are [B, T]. }];
  let arguments = (ins Kernel_Shaped:$ids, DenseI64ArrayAttr:$sets,
                       Kernel_Shaped:$indices, Kernel_Shaped:$offsets,
                       Kernel_Shaped:$order, Kernel_Shaped:$counts);
  let assemblyFormat = [{
    `ins` `(` $ids `:` type($ids) `)` `sets` $sets
    `outs` `(` $indices `,` $offsets `,` $order `,` $counts `:` type($indices) `,` type($offsets) `,` type($order) `,` type($counts) `)`
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = tables;
}

def Kernel_AssignOp : Kernel_SourceOp<"assign", [AttrSizedOperandSegments]> {
  let summary = "Rows by the slot of their n-th largest score: a stable counting sort";
  let description = [{ As nest.assign; scores are [B, T, n]. }];
  let arguments = (ins Kernel_Shaped:$scores, Optional<Kernel_Shaped>:$outerOffsets,
                       Optional<Kernel_Shaped>:$outerOrder, Optional<Kernel_Shaped>:$outerCounts,
                       Kernel_Shaped:$indices, Kernel_Shaped:$offsets,
                       Kernel_Shaped:$order, Kernel_Shaped:$counts,
                       I64Attr:$choice, OptionalAttr<DenseI64ArrayAttr>:$outerSets);
  let assemblyFormat = [{
    `ins` `(` $scores `:` type($scores) `)`
    (`within` `(` $outerOffsets^ `,` $outerOrder `,` $outerCounts `:` type($outerOffsets) `,` type($outerOrder) `,` type($outerCounts) `)` `sets` $outerSets)?
    `choice` $choice
    `outs` `(` $indices `,` $offsets `,` $order `,` $counts `:` type($indices) `,` type($offsets) `,` type($order) `,` type($counts) `)`
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = tables;
}

def Kernel_GatherOp : Kernel_DpsOp<"gather"> {
  let summary = "out[p] = x[indices[p]], of i32 [B, T], for the packed rows of `sets`";
  let arguments = (ins Kernel_Shaped:$x, Kernel_Shaped:$offsets, Kernel_Shaped:$indices,
                       Kernel_Shaped:$out, DenseI64ArrayAttr:$sets);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)`
    `rows` `(` $offsets `,` $indices `:` type($offsets) `,` type($indices) `)` `sets` $sets
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_ChosenOp : Kernel_DpsOp<"chosen"> {
  let summary = "out[p, 0] = scores[indices[p], set of p], for the packed rows of `sets`";
  let arguments = (ins Kernel_Shaped:$scores, Kernel_Shaped:$offsets, Kernel_Shaped:$indices,
                       Kernel_Shaped:$out, DenseI64ArrayAttr:$sets);
  let assemblyFormat = [{
    `ins` `(` $scores `:` type($scores) `)`
    `rows` `(` $offsets `,` $indices `:` type($offsets) `,` type($indices) `)` `sets` $sets
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_SoftmaxOp : Kernel_DpsOp<"softmax", [AttrSizedOperandSegments]> {
  let summary = "Softmax over columns, or over the rows of each sequence";
  let description = [{
    Over columns: `rows` may give the offsets of packed rows. `over_rows`: column
    by column over the rows of each sequence; `rows` (offsets, order, counts) says
    which these are, where x is packed.
  }];
  let arguments = (ins Kernel_Shaped:$x, Optional<Kernel_Shaped>:$offsets,
                       Optional<Kernel_Shaped>:$order, Optional<Kernel_Shaped>:$counts,
                       Kernel_Shaped:$out, OptionalAttr<DenseI64ArrayAttr>:$sets, UnitAttr:$over_rows);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)`
    (`rows` `(` $offsets^ (`,` $order^ `,` $counts `:` type($order) `,` type($counts))? `:` type($offsets) `)` `sets` $sets)?
    (`over_rows` $over_rows^)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_AdvanceOp : Kernel_DpsOp<"advance"> {
  let summary = "out[b] += counts[b], or the rows of the call, of which ids has one element each";
  let arguments = (ins Kernel_Shaped:$ids, Optional<Kernel_Shaped>:$counts, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $ids `:` type($ids) `)` (`counts` `(` $counts^ `:` type($counts) `)`)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # alwaysReadsOutput;
}

def Kernel_RankOp : Kernel_DpsOp<"rank", [AttrSizedOperandSegments]> {
  let summary = "out[b, t] = lengths[b] + t, or out[order[b, j]] = lengths[b] + j";
  let arguments = (ins Kernel_Shaped:$lengths, Optional<Kernel_Shaped>:$offsets,
                       Optional<Kernel_Shaped>:$order, Optional<Kernel_Shaped>:$counts,
                       Kernel_Shaped:$out, OptionalAttr<DenseI64ArrayAttr>:$sets);
  let assemblyFormat = [{
    `ins` `(` $lengths `:` type($lengths) `)`
    (`rows` `(` $offsets^ `,` $order `,` $counts `:` type($offsets) `,` type($order) `,` type($counts) `)` `sets` $sets)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_YieldOp : Op<Kernel_Dialect, "yield", [Pure, Terminator]> {
  let summary = "Ends a region of a kernel";
  let arguments = (ins Variadic<F32>:$values);
  let assemblyFormat = "$values `:` type($values) attr-dict";
}

//===----------------------------------------------------------------------===//
// After bufferisation and outlining
//===----------------------------------------------------------------------===//

def Kernel_DefOp : Op<Kernel_Dialect, "def", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator]> {
  let summary = "One kernel operation on memref arguments: what a generator turns into code";
  let description = [{
    Arguments have dynamic leading dimensions wherever launches differ. The body
    is exactly one kernel operation.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Operation *getKernel() { return &getBody().front().front(); }
  }];
}

def Kernel_LaunchOp : Op<Kernel_Dialect, "launch", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel on buffers";
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<AnyStridedMemRef>:$buffers);
  let assemblyFormat = "$kernel `(` $buffers `)` attr-dict `:` type($buffers)";
}

#endif // KERNEL_OPS_TD
