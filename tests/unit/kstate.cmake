# Keys: what seals them at the controllers, and what brokers know of them.
weir_unit_test(controller/secret/secret LINK controller_secret)
weir_unit_test(broker/keys/keys LINK broker_keys)
# Changes of streams and of the account, as transcripts.
weir_unit_test(controller/command/control LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c
            ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/control_script.c)
weir_unit_test(controller/rpc/control LINK controller_rpc
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/rpc/rig.c
            ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
weir_unit_test(controller/db/upgrade LINK controller_db PkgConfig::SQLITE)
weir_unit_test(controller/watch/attributes LINK controller_watch controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
