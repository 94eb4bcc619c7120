# weir_protobuf_c(TARGET file.proto ...): a static library of the generated code, without our warnings.
find_program(PROTOC_C NAMES protoc-c REQUIRED)

function(weir_protobuf_c target)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/generated)
    file(MAKE_DIRECTORY ${out}/proto/schema)
    set(sources)
    foreach(proto IN LISTS ARGN)
        get_filename_component(name ${proto} NAME_WE)
        set(generated ${out}/proto/schema/${name}.pb-c.c ${out}/proto/schema/${name}.pb-c.h)
        add_custom_command(OUTPUT ${generated}
            COMMAND ${PROTOC_C} -I${CMAKE_SOURCE_DIR} --c_out=${out} proto/schema/${name}.proto
            WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
            DEPENDS ${CMAKE_SOURCE_DIR}/proto/schema/${name}.proto
            COMMENT "protoc-c ${name}.proto")
        list(APPEND sources ${generated})
    endforeach()
    add_library(${target} STATIC ${sources})
    target_include_directories(${target} SYSTEM PUBLIC ${out})
    target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
    target_compile_options(${target} PRIVATE -w)
endfunction()
