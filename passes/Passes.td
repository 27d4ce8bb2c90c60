//===- Passes.td - graph passes-*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NEST_PASSES_TD
#define NEST_PASSES_TD

include "mlir/Pass/PassBase.td"

def NestSpecialize : Pass<"nest-specialize", "::mlir::ModuleOp"> {
  let summary = "Bind nested axes to the widths of one submodel";
  let description = [{
    Reads a submodel in the command line's grammar (`layers.all.ffn=1/4,skip=3`)
    or a name of `nest.submodels`, gives every `nest.get` and every value on a
    bound axis its width, replaces skipped layers by the identity, and removes
    what nothing uses any more: weights, axes, caches. `routes.SEL.capacity` and
    `routes.SEL=dense` choose other rows in the routed layers of `nest.model`;
    `modalities` removes towers, and with one tower left every partition.
  }];
  let options = [
    Option<"submodel", "submodel", "std::string", "\"\"",
           "the submodel, inline or by name">,
    ListOption<"entries", "entry", "std::string",
               "entry functions to specialise (default: all)">];
  let dependentDialects = ["::nestc::nest::NestDialect"];
}

def NestDropAxes : Pass<"nest-drop-axes", "::mlir::ModuleOp"> {
  let summary = "Drop axis encodings and inline layers";
  let description = [{
    The end of graph rewriting: every axis must be bound. Encodings go, bodies
    of `nest.layer` are inlined.
  }];
}

def NestChooseTokens : Pass<"nest-choose-tokens", "::mlir::ModuleOp"> {
  let summary = "Entries give the most likely token beside the logits of a row";
  let description = [{
    An entry whose result `logits` has one row of every sequence gets the result
    `token`, their `nest.argmax`: what generates greedily then takes that from a
    GPU, and leaves the logits there.
  }];
  let dependentDialects = ["::nestc::nest::NestDialect"];
}

def NestMaskToSlice : Pass<"nest-mask-to-slice", "::mlir::ModuleOp"> {
  let summary = "Compute only the columns that a constant mask leaves";
  let description = [{
    A multiplication (or a select) by a constant mask 1^k 0^(n-k) along one
    dimension is replaced by a slice: what is 0 behind column k adds nothing to
    a sum of products, so operands of that contraction have k columns, and so
    has everything before that nobody else reads in full. Weights become
    slices: constants are cut, a `nest.weight` gets a smaller `box` (a second
    symbol of the same key where others read it in full), anything else a
    `tensor.extract_slice`. Works on linalg with tensors, elementwise arith and
    math, and the row-wise operations of `nest`.

    Legal is what is proved. Every operation along the axis from the mask to its
    contractions maps a masked 0 to 0, by folding its scalar body: gelu, silu,
    relu and its square, tanh, a product with anything; no sigmoid, no exp, no
    bias added behind the mask, no division by what may be 0. Only sums reduce
    over it. What reads a masked value otherwise keeps its mask, with a remark at
    that operation. So does a mask that is no prefix, has other numbers than 0 and
    1, leaves no column, or is no constant. What reads all columns before the mask (a norm)
    keeps them: the value is computed in full and sliced, with a remark. A
    dimension on a nested axis is left to `nest-specialize`.

    0 times NaN or infinity, which a masked graph makes a NaN, is 0 here, and the
    sign of a zero does not count. Running the pass again changes nothing.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def NestExpandRows : Pass<"nest-expand-rows", "::mlir::ModuleOp"> {
  let summary = "Expand nest.on to gathers, bodies on packed streams, and spreads";
  let description = [{
    Neighbouring bodies that differ in their weights only become one, whose
    weights are `nest.per_set`. A set of no row (k = 0) leaves its bases, one of
    all rows (k = S, a single tower) plain streams. A partition, which the input
    alone decides, is made once, where its input is known.
  }];
}

def NestKeepGrouped : Pass<"nest-keep-grouped", "::mlir::ModuleOp"> {
  let summary = "Keep rows packed through everything that does not see their order";
  let description = [{
    Moves every `nest.spread` of a family that covers down through row-wise
    operations, rotations, caches and attention, so that one gather of tokens and
    positions is left at the entry and one spread at its end.
  }];
}

def NestKeepLast : Pass<"nest-keep-last", "::mlir::ModuleOp"> {
  let summary = "Where only the last row of a stream is asked for, compute that row alone";
  let description = [{
    Moves `nest.last` up through everything that computes rows by themselves,
    and through the queries of attention, where that leaves whole layers with
    one row: behind the last layer that writes keys and values, a prefill runs
    for its last position only. Otherwise nothing changes. Functions with row sets
    are left as they are. Axes must be gone.
  }];
}

def NestFuseRows : Pass<"nest-fuse-rows", "::mlir::ModuleOp"> {
  let summary = "Gather operations row by row into nest.fused, one kernel each";
  let description = [{
    Norms, elementwise code and products with a few rows of a matrix that have
    no other operation between them, where more than one kernel would be made of
    them. What chooses numbers for a row, as a router does, is computed in every
    kernel that reads them. Elementwise code behind a product stays there.
    Functions with row sets are left as they are. Axes must be gone.
  }];
}

def NestConfigure : Pass<"nest-configure", "::mlir::ModuleOp"> {
  let summary = "Choose the type in which matrices are multiplied, and the length of caches";
  let description = [{
    Gives matrices and caches the element type `type` (f32, bf16 or f16);
    vectors, streams, logits and what is exact stay f32. `max-length` is the
    number of rows that a cache has room for.
  }];
  let options = [
    Option<"type", "type", "std::string", "\"\"",
           "f32, bf16 or f16 (default: as it is)">,
    Option<"maxLength", "max-length", "int64_t", "0",
           "rows of a cache (default: as it is)">];
}

def ConvertNestToKernel : Pass<"convert-nest-to-kernel", "::mlir::ModuleOp"> {
  let summary = "Form fused, destination-style kernels from graph operations";
  let description = [{
    Elementwise code goes into the epilogue of the product or of the norm that
    feeds it, a gather into the kernel that reads the rows, a spread into the one
    that makes them; a residual is the old value of the output. Every kernel
    writes where nothing is read any more, so that no copy is needed later.
    Axes must be gone (`nest-drop-axes`) and row sets expanded.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect",
                           "::mlir::bufferization::BufferizationDialect",
                           "::mlir::math::MathDialect"];
}

def KernelRoundAttention : Pass<"kernel-round-attention", "::mlir::ModuleOp"> {
  let summary = "Permit attention to round queries and weights to the type of its caches";
  let description = [{
    Sets `rounds` where the caches are bf16 or f16. This changes the function: it
    is what implementations of attention in these types compute, with one product
    where the exact one takes two or three.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelBoundRows : Pass<"kernel-bound-rows", "::mlir::ModuleOp"> {
  let summary = "Products of selected rows know how many there are at most";
  let description = [{
    Sets `kernel.capacity` of products whose rows a `kernel.select` with a capacity
    chose: of T rows of a sequence their sets have at most so many. Buffers have
    room for T; tiles, and how many, are chosen by what can be there.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelAbsorbGathers : Pass<"kernel-absorb-gathers", "::mlir::ModuleOp"> {
  let summary = "Gathered rows are read where they lie, where all kernels that read them can";
  let description = [{
    A copy of selected rows goes if its readers are products (their stream, or
    operands of the epilogue) and row-wise kernels of no other stream, on the
    same rows, and all of them run before the rows change.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelFuseProjections : Pass<"kernel-fuse-projections", "::mlir::ModuleOp"> {
  let summary = "Products of one stream, with bias, head norm, rotation and append, as one kernel";
  let description = [{
    Forms kernel.project of the products that make queries, keys and values, for
    generators that have it. A chain of kernels that a tile of a product cannot
    do, such as a norm of whole rows, stays as it is from there on.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelFoldNorms : Pass<"kernel-fold-norms", "::mlir::ModuleOp"> {
  let summary = "Fold RMS norms into the products before and behind them";
  let description = [{
    Where a product makes a stream, and products alone read its norm, the first
    writes the stream times the gain, and sums of its squares, of which the
    others take one factor for each row. Norms for products in f16, whose range
    the stream times the gain may leave, stay as they are.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelNarrowStreams : Pass<"kernel-narrow-streams", "::mlir::ModuleOp"> {
  let summary = "Store streams that only matrix products read in the type in which they take them";
  let description = [{
    The product rounds its operand, the kernel that makes the stream then does:
    the same values. Queries of attention that `rounds` are such an operand.
    Streams that anything else reads stay f32.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelBufferize : Pass<"kernel-bufferize", "::mlir::ModuleOp"> {
  let summary = "Tensors to buffers for functions of kernels, every kernel in place";
  let description = [{
    Proves that no value is read after a kernel wrote over it, which is quick in
    a function of one block, and rewrites functions of kernels to buffers, with
    no copy. Arguments have the identity layout.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect",
                           "::mlir::bufferization::BufferizationDialect"];
}

def KernelShareWeights : Pass<"kernel-share-weights", "::mlir::ModuleOp"> {
  let summary = "Read narrow weights where the wide ones of other submodels lie";
  let description = [{
    Weights whose boxes of a stored tensor begin at one place are stored once, as
    the union of these boxes. Arguments `nest.weight` of functions on buffers get
    its rows' distance as their stride. `linked`: weights in the stored type lie
    in the whole stored tensor.
  }];
  let options = [Option<"linked", "linked", "bool", "false",
                        "weights stay where they are stored">];
}

def KernelSplit : Pass<"kernel-split", "::mlir::ModuleOp"> {
  let summary = "Give kernels of few rows a workspace in which blocks of a GPU share a tile";
  let description = [{
    Products of bf16 and f16 whose columns alone do not make blocks for the whole
    device, by a rule of columns and depth, and attention over long caches. Runs
    on buffers, before memory is planned: the workspace is a buffer like others,
    tickets are marked `kernel.tickets`.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelPlanMemory : Pass<"kernel-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give every buffer a place in one arena; prove that no allocation and no copy is left";
  let description = [{
    Buffers share places by liveness. A size is a number of bytes times rows,
    times sequences, or fixed, so that one plan serves every length of a call.
    An allocation or a copy that is left is an error at its operation.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

def KernelOutline : Pass<"kernel-outline", "::mlir::ModuleOp"> {
  let summary = "Turn kernels into definitions shared by layers and entries, and launches";
  let description = [{
    Kernels that differ only in their buffers, in batch and in rows are one
    `kernel.def`: code does not grow with the number of layers.
  }];
  let dependentDialects = ["::nestc::kernel::KernelDialect"];
}

#endif // NEST_PASSES_TD
