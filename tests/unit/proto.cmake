foreach(name IN ITEMS bytes crc32c hash_key status config)
    weir_unit_test(base/${name} LINK base)
endforeach()
foreach(name IN ITEMS batch frame seqnum)
    weir_unit_test(proto/wire/${name} LINK proto_wire)
endforeach()
weir_unit_test(proto/rpc/rpc LINK proto_rpc)

# On a real loop, over loopback, with certificates that bench.c makes.
foreach(name IN ITEMS session refuse link loop)
    weir_unit_test(proto/net/${name} LINK proto_net
        SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/bench.c
                ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
endforeach()
