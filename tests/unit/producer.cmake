weir_unit_test(proto/codec/codec LINK proto_codec)
weir_unit_test(proto/wire/kpl LINK proto_wire)
weir_unit_test(client/producer/encode LINK client_producer_core)
weir_unit_test(client/producer/unsent LINK client_producer_core)
