weir_unit_test(client/producer/batcher LINK client_producer_core)
weir_unit_test(client/producer/delivery LINK client_producer_core)
weir_unit_test(client/reader/decode LINK client_reader_core)
weir_unit_test(client/cluster/metadata LINK client_metadata)
