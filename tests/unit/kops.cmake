weir_unit_test(broker/api/limits LINK broker_api)
weir_unit_test(broker/kinesis/put_entries LINK broker_kinesis)
weir_unit_test(broker/shard/token_table LINK broker_shard)
