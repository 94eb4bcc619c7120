# weir_library(NAME SOURCES a.c b.c [LINK x y]): one folder, one static library, includes from the root.
function(weir_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE warnings)
endfunction()

function(weir_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE ${ARG_LINK} warnings)
endfunction()

# weir_unit_test(path/name LINK x y [SOURCES more.c]): tests/unit/path/name_test.c, run by ctest as
# "path/name". The program is called after the whole path, because names repeat between folders.
function(weir_unit_test path)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    string(REPLACE "/" "_" program ${path})
    add_executable(${program}_test ${CMAKE_SOURCE_DIR}/tests/unit/${path}_test.c ${ARG_SOURCES})
    target_include_directories(${program}_test PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${program}_test PRIVATE ${ARG_LINK} PkgConfig::CMOCKA warnings)
    set_target_properties(${program}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME unit/${path} COMMAND ${program}_test)
    set_tests_properties(unit/${path} PROPERTIES TIMEOUT 300)
    # One at a time: a link that redials a port which its test has given back would disturb whoever
    # was given that port next.
    if(path MATCHES "^(proto/net|controller/raft/node|controller/rpc|client/handle|broker/gateway/http_server)")
        set_tests_properties(unit/${path} PROPERTIES RESOURCE_LOCK loopback)
    endif()
endfunction()
