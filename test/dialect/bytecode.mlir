// Bytecode of this dialect has a version; docs/Spec.md, "Bytecode".
// What is written today reads back as it was.
// RUN: nest-opt %s --emit-bytecode -o %t.mlirbc
// RUN: nest-opt %t.mlirbc | FileCheck %s
// CHECK: nest.axis @ffn size 8 levels [4, 8]
// CHECK: nest.weight @w : tensor<8x4xf32, #nest.on<ffn, _>>
nest.axis @ffn size 8 levels [4, 8]
nest.weight @w : tensor<8x4xf32, #nest.on<ffn, _>>

// What version 1 wrote reads for ever; the file is ops.mlir of its day.
// RUN: nest-opt %S/Inputs/nest-v1.mlirbc | FileCheck %S/ops.mlir

// A newer version is refused: what wrote it, what reads it, what to do.
// RUN: not nest-opt %S/Inputs/nest-newer.mlirbc 2>&1 | FileCheck %s --check-prefix=NEWER
// NEWER: error: bytecode of dialect 'nest' has version 3, written by 'nestc 99.0'; nestc {{[0-9.]+}} reads versions 1 to 2: read it with a newer nestc, or let the writer write text

// A file that ends early is an error.
// RUN: %python -c "import sys; d = open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'wb').write(d[:len(d) // 2])" %t.mlirbc %t.half.mlirbc
// RUN: not nest-opt %t.half.mlirbc 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: error:
