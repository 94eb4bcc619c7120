# Closing, splitting and merging shards.
weir_unit_test(broker/replica/seal LINK broker_replica
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/replica/fixture.c)
weir_unit_test(broker/shard/seal LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(controller/reshard/reshard LINK controller_reshard)
weir_unit_test(controller/command/reshard LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/rows.c)
weir_unit_test(broker/log/seal LINK broker_log
    SOURCES ${CMAKE_SOURCE_DIR}/tests/support/store_fixture.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(client/producer/sealed LINK client_producer_core)
