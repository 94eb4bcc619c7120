# Who leaves gives leaderships away once.
weir_unit_test(broker/shard/hand_over LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
