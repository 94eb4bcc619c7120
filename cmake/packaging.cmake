# cmake --install, and Debian packages: `cmake --build DIR --target programs && (cd DIR && cpack)`.
# What other folders install without naming a component belongs to libweir-dev.
include(GNUInstallDirs)

install(TARGETS weir weirctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT weir)
install(TARGETS weir-controller RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT weir-controller)
install(TARGETS weir-broker weir_inspect RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT weir-broker)

# Manual pages: the text that is in --help comes from there, so that a page cannot be out of date.
set(pages)
function(weir_manual target page component)
    get_filename_component(section ${page} LAST_EXT)
    string(SUBSTRING ${section} 1 -1 section)
    set(out ${CMAKE_BINARY_DIR}/man/${page})
    add_custom_command(OUTPUT ${out}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
        COMMAND ${CMAKE_SOURCE_DIR}/docs/man/make-page ${CMAKE_SOURCE_DIR}/docs/man/${page}.in $<TARGET_FILE:${target}> ${out}
        DEPENDS ${target} ${CMAKE_SOURCE_DIR}/docs/man/${page}.in ${CMAKE_SOURCE_DIR}/docs/man/make-page
        COMMENT "manual page ${page}")
    set(pages ${pages} ${out} PARENT_SCOPE)
    install(FILES ${out} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
endfunction()
weir_manual(weir weir.1 weir)
weir_manual(weirctl weirctl.1 weir)
weir_manual(weir-controller weir-controller.8 weir-controller)
weir_manual(weir-broker weir-broker.8 weir-broker)
weir_manual(weir_inspect weir-inspect.8 weir-broker)
add_custom_target(manuals ALL DEPENDS ${pages})

# One completion for all programs: it asks them for their usage.
foreach(program IN ITEMS weir weirctl weir-controller weir-broker)
    set(component ${program})
    if(program STREQUAL "weirctl")
        set(component weir)
    endif()
    install(FILES ${CMAKE_SOURCE_DIR}/deploy/completion/weir.bash RENAME ${program}
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT ${component})
endforeach()

# Units and configuration name paths, which are known when it is installed: /etc belongs to the prefix /usr.
foreach(role IN ITEMS controller broker)
    install(CODE "
        set(CMAKE_INSTALL_FULL_BINDIR \${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR})
        set(CMAKE_INSTALL_FULL_SYSCONFDIR \${CMAKE_INSTALL_PREFIX}/etc)
        if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
            set(CMAKE_INSTALL_FULL_SYSCONFDIR /etc)
        endif()
        configure_file(\"${CMAKE_SOURCE_DIR}/deploy/systemd/weir-${role}.service.in\"
            \"${CMAKE_BINARY_DIR}/systemd/weir-${role}.service\" @ONLY)
        file(INSTALL \"${CMAKE_BINARY_DIR}/systemd/weir-${role}.service\"
            DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")
        file(INSTALL \"${CMAKE_SOURCE_DIR}/deploy/systemd/${role}.conf\"
            DESTINATION \"\${CMAKE_INSTALL_FULL_SYSCONFDIR}/weir\")
        " COMPONENT weir-${role})
endforeach()

foreach(package IN ITEMS weir weir-controller weir-broker libweir-dev)
    install(FILES ${CMAKE_SOURCE_DIR}/deploy/debian/copyright
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${package})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_VENDOR "Weir")
set(CPACK_PACKAGE_CONTACT "Weir maintainers <maintainers@weir.invalid>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL weir weir-controller weir-broker libweir-dev)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)

function(weir_package name summary)
    cmake_parse_arguments(ARG "" "DEPENDS;SUGGESTS;SECTION" "TEXT" ${ARGN})
    string(TOUPPER ${name} upper)
    string(JOIN " " text ${ARG_TEXT})
    set(CPACK_COMPONENT_${upper}_GROUP ${name} PARENT_SCOPE)
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name} PARENT_SCOPE)
    set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n ${text}" PARENT_SCOPE)
    set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary}\n ${text}" PARENT_SCOPE)
    foreach(field IN ITEMS DEPENDS SUGGESTS SECTION)
        if(ARG_${field})
            set(CPACK_DEBIAN_${upper}_PACKAGE_${field} "${ARG_${field}}" PARENT_SCOPE)
        endif()
    endforeach()
    if(EXISTS ${CMAKE_SOURCE_DIR}/deploy/debian/${name}/postinst)
        set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_STRICT_PERMISSION ON PARENT_SCOPE)
        set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
            "${CMAKE_SOURCE_DIR}/deploy/debian/${name}/postinst;${CMAKE_SOURCE_DIR}/deploy/debian/${name}/prerm;${CMAKE_SOURCE_DIR}/deploy/debian/${name}/postrm;${CMAKE_SOURCE_DIR}/deploy/debian/${name}/conffiles"
            PARENT_SCOPE)
    endif()
endfunction()

weir_package(weir "distributed stream store: the programs weir and weirctl"
    SUGGESTS "bash-completion"
    TEXT "Puts records into the streams of a Weir cluster, reads them, inspects and operates clusters.")
weir_package(weir-controller "distributed stream store: the controller"
    DEPENDS "passwd, libraft0 (>= 0.22)" SUGGESTS "weir"
    TEXT "Keeps a Weir cluster's metadata, watches its brokers and elects leaders of shards. A cluster has three or five.")
weir_package(weir-broker "distributed stream store: the broker"
    DEPENDS "passwd" SUGGESTS "weir"
    TEXT "Stores and replicates the records of a Weir cluster, and serves native and Kinesis clients.")
weir_package(libweir-dev "distributed stream store: the C client library" SECTION libdevel
    DEPENDS "libuv1-dev, libprotobuf-c-dev, libssl-dev, libzstd-dev, liblz4-dev" SUGGESTS "pkg-config, cmake"
    TEXT "Headers and library for programs that put and read records of a Weir cluster.")
include(CPack)
