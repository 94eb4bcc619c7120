weir_unit_test(controller/placement/placement LINK controller_placement)
weir_unit_test(controller/command/command LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
weir_unit_test(controller/db/db LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
weir_unit_test(controller/watch/watch LINK controller_watch controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
weir_unit_test(controller/rpc/liveness LINK controller_rpc)
# The Raft node is the test's own.
weir_unit_test(controller/rpc/pipeline LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/controller/rpc/pipeline.c ${CMAKE_SOURCE_DIR}/controller/rpc/gate.c)
# A real controller on a loop; the test plays the brokers and the clients.
weir_unit_test(controller/rpc/controller LINK controller_rpc
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/rpc/rig.c
            ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
weir_unit_test(controller/server/server LINK controller_server)
