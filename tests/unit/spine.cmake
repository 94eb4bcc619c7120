# What lies aside of the main path: quarantine, state hashes, limits of connections.
set(spine_storage ${CMAKE_SOURCE_DIR}/tests/support/store_fixture.c ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(broker/log/quarantine LINK broker_log SOURCES ${spine_storage})
weir_unit_test(controller/rpc/agreement LINK controller_rpc)
weir_unit_test(controller/db/digest LINK controller_command PkgConfig::SQLITE
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/script.c)
weir_unit_test(proto/net/limit LINK proto_net SOURCES ${net_bench})
