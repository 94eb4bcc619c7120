set(fixture ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/replica/fixture.c)
foreach(name IN ITEMS replica leader follower fence search uncertain)
    weir_unit_test(broker/replica/${name} LINK broker_replica SOURCES ${fixture})
endforeach()
# The core's only allocations fail on demand.
weir_unit_test(broker/replica/durable LINK broker_replica SOURCES ${fixture})
target_link_options(broker_replica_durable_test PRIVATE -Wl,--wrap=realloc,--wrap=calloc)
