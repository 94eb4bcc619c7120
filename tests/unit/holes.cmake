weir_unit_test(broker/replica/holes LINK broker_replica
    SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/replica/fixture.c)
weir_unit_test(broker/shard/damage LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c)
