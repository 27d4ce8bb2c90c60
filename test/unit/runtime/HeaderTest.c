/*===- HeaderTest.c - the headers are C99 ---------------------------*- C
-*-===*\
|*                                                                            *|
|* Part of nestc, under the Apache License v2.0 with LLVM Exceptions.         *|
|* See LICENSE for details.                                                   *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include <nest/code_abi.h>
#include <nest/runtime.h>

int32_t abiVersionFromC(void);
int32_t abiVersionFromC(void) {
  nest_status (*load)(const char *, nest_package **) = nest_package_load;
  return load ? nest_abi_version() : -1;
}
