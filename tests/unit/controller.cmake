weir_unit_test(controller/placement/placement LINK controller_placement)
weir_unit_test(controller/command/command LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
weir_unit_test(controller/db/db LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
weir_unit_test(controller/watch/watch LINK controller_watch controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
