weir_unit_test(broker/kinesis/attempt LINK broker_kinesis)
