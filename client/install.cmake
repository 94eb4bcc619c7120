# What programs of others build against: headers, one static libweir.a with everything of ours in it, weir.pc and a
# CMake package. `cmake --install build --component libweir-dev`, or the Debian package of that name. What is installed may
# be moved: weir.pc and the CMake files find the rest from where they lie.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(weir_parts weir_client client_producer_core client_reader_core client_consumer_core client_cluster client_metadata
               proto_net proto_rpc proto_codec proto_schema proto_wire base)
set(weir_objects)
foreach(part IN LISTS weir_parts)
    list(APPEND weir_objects $<TARGET_OBJECTS:${part}>)
endforeach()
add_library(weir_package STATIC ${weir_objects})
set_target_properties(weir_package PROPERTIES
    OUTPUT_NAME weir LINKER_LANGUAGE C ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

set(WEIR_REQUIRES "libuv >= 1.44, libprotobuf-c >= 1.4, openssl >= 3.0, libzstd >= 1.5, liblz4 >= 1.9")
file(RELATIVE_PATH WEIR_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" WEIR_PC_PREFIX "${WEIR_PC_PREFIX}")
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/weir.pc.in ${CMAKE_BINARY_DIR}/lib/weir.pc @ONLY)
configure_package_config_file(${CMAKE_CURRENT_SOURCE_DIR}/weirConfig.cmake.in
    ${CMAKE_BINARY_DIR}/lib/weirConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir
    PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/lib/weirConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS weir_package ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libweir-dev)
install(DIRECTORY include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libweir-dev)
install(FILES ${CMAKE_BINARY_DIR}/lib/weir.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libweir-dev)
install(FILES ${CMAKE_BINARY_DIR}/lib/weirConfig.cmake ${CMAKE_BINARY_DIR}/lib/weirConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir COMPONENT libweir-dev)
