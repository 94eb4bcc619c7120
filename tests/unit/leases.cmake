# Consumer leases in the controllers.
weir_unit_test(controller/lease/lease LINK controller_lease)
weir_unit_test(controller/rpc/leases LINK controller_rpc
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/rpc/rig.c
            ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
