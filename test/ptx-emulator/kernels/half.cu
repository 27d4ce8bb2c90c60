// compile: half.ptx nvcc -arch=sm_80
// compile: half-sm90.ptx nvcc -arch=sm_90
//
// f16 and f16x2 (the pairs by their upper halves as well).
#include "common.h"
#include <cuda_fp16.h>

using T = __half;
using T2 = __half2;
#define NAME(x) x##_f16
#include "half.inc"
