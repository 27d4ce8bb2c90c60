// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.ffn=17" 2>&1 | FileCheck %s --check-prefix=ABOVE
// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.ffn=1/3" 2>&1 | FileCheck %s --check-prefix=WHOLE
// RUN: not nest-opt %s --nest-specialize="submodel=layers.4.ffn=1/2" 2>&1 | FileCheck %s --check-prefix=LAYER
// RUN: not nest-opt %s --nest-specialize="submodel=skip=0" 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not nest-opt %s --nest-specialize="submodel=smal" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.fn=1/2" 2>&1 | FileCheck %s --check-prefix=KEY
// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.ffn=1/0" 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not nest-opt %s --nest-specialize="submodel=layers.3-1.ffn=1/2" 2>&1 | FileCheck %s --check-prefix=BACK
// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.heads=1/8..1/1" 2>&1 | FileCheck %s --check-prefix=OPEN
// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.heads=1/2" 2>&1 | FileCheck %s --check-prefix=HEADS
// RUN: not nest-opt %s --nest-specialize="submodel=small entry=prefil" 2>&1 | FileCheck %s --check-prefix=ENTRY
// RUN: nest-opt %s --nest-specialize="submodel=layers.0.ffn=6" 2>&1 | FileCheck %s --check-prefix=LEVEL

// ABOVE: error: submodel entry 'layers.0.ffn=17': the width 17 is not there; legal are 1 to 16, which is what is stored
// WHOLE: error: submodel entry 'layers.0.ffn=1/3': 1/3 of 16 is no whole number;
// LAYER: error: submodel entry 'layers.4.ffn=1/2': there is no layer 4; the model has layers 0-0
// NONE: error: submodel entry 'skip=0': no layer would be left; keep at least one of the 1 layers
// NAME: error: submodel 'smal': there is no submodel of this name (did you mean small?); named are small
// KEY: unknown key 'layers.0.fn'
// ZERO: '1/0' divides by zero
// BACK: the range 3-1 runs backwards
// OPEN: heads cannot stay open until run time: caches have one size
// HEADS: there is no axis layers.0.heads
// ENTRY: there is no entry 'prefil'; entries are f
// LEVEL: warning: layers.0.ffn: the width 6 is no trained level; levels are 4, 16
module attributes {nest.model = {num_layers = 1 : i64}, nest.submodels = {small = "layers.all.ffn=1/4"}} {
  nest.axis @layers.0.ffn size 16 levels [4, 16]
  func.func @f() attributes {nest.entry = "f"} {
    return
  }
}
