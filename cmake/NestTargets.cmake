# One function per kind of target, so that a folder's CMakeLists.txt is a list of files.

# nest_add_library(NAME [PCH_FROM target] SOURCES... [LINK libs...] [DEPENDS targets...])
# A static library of the compiler, linked to libMLIR and libLLVM only.
function(nest_add_library name)
  cmake_parse_arguments(ARG "OWN_PCH" "" "SOURCES;LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
  target_include_directories(${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/nestc>)
  target_compile_features(${name} PUBLIC cxx_std_17)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  if(ARG_OWN_PCH)
    target_precompile_headers(${name} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
  elseif(TARGET NestDialect)
    target_precompile_headers(${name} REUSE_FROM NestDialect)
  endif()
endfunction()

# nest_add_tool(NAME SOURCES... LINK libs...): an installed executable.
function(nest_add_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM)
  target_precompile_headers(${name} REUSE_FROM NestDialect)
  # -fPIC, not CMake's -fPIE, so that the precompiled header fits.
  target_compile_options(${name} PRIVATE -fPIC)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF
    INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}:${LLVM_LIBRARY_DIR}"
    BUILD_RPATH "${LLVM_LIBRARY_DIR}")
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# nest_tablegen(TARGET TD OUTPUT -gen-flag [OUTPUT -gen-flag ...]) with further
# pairs; all outputs land beside the .td in the build tree.
function(nest_tablegen target td)
  set(LLVM_TARGET_DEFINITIONS ${td})
  set(rest ${ARGN})
  while(rest)
    list(POP_FRONT rest out)
    list(POP_FRONT rest flags)
    separate_arguments(flags NATIVE_COMMAND "${flags}")
    mlir_tablegen(${out} ${flags})
  endwhile()
  add_public_tablegen_target(${target})
endfunction()

# nest_add_unit_test(NAME SOURCES... LINK libs... [FILTERS filter...]): a GoogleTest
# that ctest runs, all of it or the tests that one of the filters chooses.
function(nest_add_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;FILTERS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES BUILD_RPATH "${LLVM_LIBRARY_DIR}")
  if(NOT ARG_FILTERS)
    set(ARG_FILTERS "*")
  endif()
  foreach(filter ${ARG_FILTERS})
    gtest_discover_tests(${name} TEST_FILTER "${filter}")
  endforeach()
endfunction()
