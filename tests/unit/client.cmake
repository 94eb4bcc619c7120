weir_unit_test(client/producer/batcher LINK client_producer_core)
weir_unit_test(client/producer/delivery LINK client_producer_core)
