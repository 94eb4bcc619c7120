# What makes puts cheaper.
weir_unit_test(broker/shard/kept LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c)
