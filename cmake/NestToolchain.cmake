# What nestc is built with: LLVM and MLIR 22 as shared libraries, nlohmann-json,
# OpenMP for the runtime, ccache when present, and our own warning flags.

find_package(MLIR CONFIG QUIET HINTS /usr/lib/llvm-22/lib/cmake/mlir)
# MLIR has no version file; it brings its own LLVM, whose version is checked.
if(NOT MLIR_FOUND)
  message(FATAL_ERROR "MLIR 22 was not found; run scripts/setup.sh, or "
    "`apt-get install libmlir-22-dev mlir-22-tools llvm-22-dev`, or give -DMLIR_DIR=")
endif()
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "nestc needs LLVM 22; ${MLIR_DIR} is of LLVM ${LLVM_VERSION}; give -DMLIR_DIR=")
endif()
find_package(nlohmann_json 3.11 REQUIRED)
find_package(Threads REQUIRED)

list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
set(LLVM_INCLUDE_TESTS OFF)
include(TableGen)
include(AddLLVM)
include(AddMLIR)

# tblgen sees include paths of the directory only, and LLVM's headers are not
# ours to warn about.
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
separate_arguments(NEST_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_definitions(${NEST_LLVM_DEFINITIONS})

add_compile_options(-Wall -Wextra -Werror -Wno-unused-parameter)

find_program(NEST_CCACHE ccache)
if(NEST_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${NEST_CCACHE})
  # Without these ccache cannot share objects made with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${NEST_CCACHE})
endif()

if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
  find_program(NEST_LLD ld.lld-22 NAMES ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR})
  if(NEST_LLD)
    add_link_options(--ld-path=${NEST_LLD})
  endif()
endif()

option(NESTC_SANITIZE "build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
if(NESTC_SANITIZE)
  # libMLIR and libLLVM are not instrumented; vptr checks would need their RTTI
  # from every type they make.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr,function
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=address,undefined)
endif()
