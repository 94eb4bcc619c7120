weir_unit_test(broker/replica/holes LINK broker_replica
    SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/replica/fixture.c)
