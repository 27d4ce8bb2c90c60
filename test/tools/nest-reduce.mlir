// Of a module that shows something, what shows it is left.
// RUN: nest-reduce %s --test=%S/Inputs/contains.sh --test-arg='nest.act tanh' | FileCheck %s
// What is not legal may stay so: the defect may be in the verifier.
// RUN: sed 's/^nest.axis.*//' %s > %t.illegal.mlir
// RUN: not nest-opt %t.illegal.mlir -o /dev/null 2>&1 | FileCheck %s --check-prefix=ILLEGAL
// RUN: nest-reduce %t.illegal.mlir --test=%S/Inputs/contains.sh --test-arg='"nest.weight"' -o %t.small.mlir
// RUN: FileCheck %s --check-prefix=SMALL < %t.small.mlir

// RUN: not nest-reduce %s --test=%S/Inputs/contains.sh --test-arg='no such text' 2>&1 | FileCheck %s --check-prefix=DULL
// RUN: not nest-reduce %s --test=%t.none 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: module {
// CHECK-NEXT: func.func @f(%[[X:.+]]: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
// CHECK-NEXT: nest.act tanh %[[X]]
// CHECK-NEXT: return
// CHECK-NEXT: }
// CHECK-NEXT: }

// ILLEGAL: C10
// SMALL: "builtin.module"() ({
// SMALL-NEXT: "nest.weight"() {{.*}}sym_name = "up"
// SMALL-NEXT: })

// DULL: error: the test finds the module not interesting; it must exit with 0 for it
// NONE: error: cannot run {{.*}}none: {{.*}}No such file
nest.axis @layers.0.ffn size 16 levels [4, 16]
nest.weight @up : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
func.func @f(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> tensor<?x?x8xf32> attributes {own} {
  %s = nest.act silu %x : tensor<?x?x8xf32>
  %t = nest.act tanh %s : tensor<?x?x8xf32>
  %r = nest.act relu %t : tensor<?x?x8xf32>
  return %r : tensor<?x?x8xf32>
}
func.func @other(%x: tensor<?x?x8xf32>) {
  %w = nest.get @up : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  %h = nest.linear %x, %w : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
  return
}
