# Damage of segments: finding it, and writing over it what another replica has.
weir_unit_test(broker/log/repair LINK broker_log
    SOURCES ${CMAKE_SOURCE_DIR}/tests/support/store_fixture.c ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
