weir_unit_test(proto/wire/seqnum LINK proto_wire)

# The bench of these needs their folder for its private headers.
foreach(name IN ITEMS session refuse link loop)
    weir_unit_test(proto/net/${name} LINK proto_net
        SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/bench.c
                ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
endforeach()
