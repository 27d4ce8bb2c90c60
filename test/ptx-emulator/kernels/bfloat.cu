// compile: bfloat.ptx nvcc -arch=sm_80
// compile: bfloat-sm90.ptx nvcc -arch=sm_90
//
// bf16 and bf16x2: made of fma below sm_90.
#include "common.h"
#include <cuda_bf16.h>

using T = __nv_bfloat16;
using T2 = __nv_bfloat162;
#define NAME(x) x##_bf16
#include "half.inc"
