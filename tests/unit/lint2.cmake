# What several processes share.
weir_unit_test(proto/net/process_config LINK proto_net)
# Forced recovery.
weir_unit_test(broker/shard/lineage LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(controller/command/force_recover LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/rows.c)
