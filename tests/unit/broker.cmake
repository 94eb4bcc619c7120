weir_unit_test(broker/shard/producer_table LINK broker_shard)
weir_unit_test(broker/route/route LINK broker_route)
