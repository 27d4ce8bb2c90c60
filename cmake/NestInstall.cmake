# `cmake --install` and find_package(nestc).
