# `cmake --install`: binaries, headers, the plugin, and find_package(nestc).
include(CMakePackageConfigHelpers)

set(NEST_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/nestc)
set(NEST_EXPORTED)
foreach(target NestDialect NestPasses NestLinalg NestCode NestCpu NestNvptx NestPackage NestLowering
               NestRtCore nestrt)
  if(TARGET ${target})
    list(APPEND NEST_EXPORTED ${target})
  endif()
endforeach()
install(TARGETS ${NEST_EXPORTED} EXPORT nestcTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT nestcTargets NAMESPACE nestc:: DESTINATION ${NEST_CMAKE_DIR})
if(TARGET NestPlugin)
  install(TARGETS NestPlugin LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

# Headers as they are included: "dialect/Nest.h" below include/nestc, and the
# runtime's <nest/runtime.h> below include.
foreach(root ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  foreach(folder dialect passes lowering)
    install(DIRECTORY ${root}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/nestc
      FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.h.inc"
      PATTERN "CMakeFiles" EXCLUDE PATTERN "*.dir" EXCLUDE PATTERN "include" EXCLUDE)
  endforeach()
endforeach()
install(DIRECTORY ${CMAKE_SOURCE_DIR}/lowering/runtime/include/
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/nestcConfig.cmake.in
  ${CMAKE_BINARY_DIR}/nestcConfig.cmake INSTALL_DESTINATION ${NEST_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/nestcConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/nestcConfig.cmake
  ${CMAKE_BINARY_DIR}/nestcConfigVersion.cmake DESTINATION ${NEST_CMAKE_DIR})
