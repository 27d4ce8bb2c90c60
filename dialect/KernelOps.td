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
  let arguments = (ins Kernel_Shaped:$ids, Kernel_Shaped:$table,
                       F32Attr:$scale, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $table `:` type($ids) `,` type($table) `)` `scale` $scale
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
  }];
  let arguments = (ins Kernel_Shaped:$a, Variadic<Kernel_Shaped>:$weights,
                       Variadic<Kernel_Shaped>:$epilogue, Kernel_Shaped:$out,
                       AffineMapArrayAttr:$maps);
  let regions = (region SizedRegion<1>:$region);
  let assemblyFormat = [{
    `ins` `(` $a `:` type($a) `)` `weights` `(` $weights `:` type($weights) `)`
    (`epilogue` `(` $epilogue^ `:` type($epilogue) `)`)? `by` $maps
    `outs` `(` $out `:` type($out) `)` attr-dict-with-keyword $region (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # [{
    /// The block argument that holds the output's old value.
    ::mlir::BlockArgument getOldValue() {
      return getRegion().front().getArguments().back();
    }
    /// Whether the output is read before it is written.
    bool readsOutput() { return !getOldValue().use_empty(); }
  }];
}

def Kernel_RowwiseOp : Kernel_DpsOp<"rowwise", [SingleBlock]> {
  let summary = "Sums over groups of columns, then elementwise code";
  let description = [{
    Columns are cut into groups of `group`. Every region but the last is a round
    of sums: from one f32 for each input (read through its map of (row, column,
    column in the group)) and all sums of earlier rounds, it yields values that
    are summed over the group. The last region sees inputs, all sums and the
    output's old value, and yields out[row, column]. Regions hold elementwise
    scalar operations and constants only.
  }];
  let arguments = (ins Variadic<Kernel_Shaped>:$inputs, Kernel_Shaped:$out,
                       AffineMapArrayAttr:$maps, I64Attr:$group);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = [{
    `ins` `(` ($inputs^ `:` type($inputs))? `by` $maps `)` `group` $group
    `outs` `(` $out `:` type($out) `)` attr-dict-with-keyword $bodies (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # [{
    ::mlir::BlockArgument getOldValue() {
      return getBodies().back().front().getArguments().back();
    }
    bool readsOutput() { return !getOldValue().use_empty(); }
  }];
}

def Kernel_RopeTableOp : Kernel_DpsOp<"rope_table"> {
  let summary = "out[r, i] = cos, out[r, n + i] = sin of positions[r] * frequencies[i], times magnitude";
  let arguments = (ins Kernel_Shaped:$positions, Nest_RopeAttr:$rope, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $positions `:` type($positions) `)` $rope
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_RopeOp : Kernel_DpsOp<"rope"> {
  let summary = "Turns every head of the output's rows in place, by a table";
  let arguments = (ins Kernel_Shaped:$table, I64Attr:$headDim, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $table `:` type($table) `)` `head_dim` $headDim
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = dpsInits # alwaysReadsOutput;
}

def Kernel_CacheAppendOp : Kernel_DpsOp<"cache_append"> {
  let summary = "out[b, h, lengths[b] + t, :] = rows[b, t, h * D : (h + 1) * D]";
  let arguments = (ins Kernel_Shaped:$rows, Kernel_Shaped:$lengths, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $rows `,` $lengths `:` type($rows) `,` type($lengths) `)`
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  // Rows of the cache that are not written keep their value.
  let extraClassDeclaration = dpsInits # alwaysReadsOutput;
}

def Kernel_AttentionOp : Kernel_DpsOp<"attention"> {
  let summary = "Attention over a cache; one softmax in f32";
  let arguments = (ins Kernel_Shaped:$q, Kernel_Shaped:$k, Kernel_Shaped:$v,
                       Kernel_Shaped:$lengths, F32Attr:$scale, Nest_MaskAttr:$mask,
                       Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $q `,` $k `,` $v `,` $lengths `:` type($q) `,` type($k) `,` type($v) `,` type($lengths) `)`
    `scale` $scale $mask `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
}

def Kernel_LastRowsOp : Kernel_DpsOp<"last_rows"> {
  let summary = "out[b, 0, :] = x[b, T - 1, :]";
  let arguments = (ins Kernel_Shaped:$x, Kernel_Shaped:$out);
  let assemblyFormat = [{
    `ins` `(` $x `:` type($x) `)` `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
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
