weir_unit_test(broker/crypt/crypt LINK broker_crypt)
weir_unit_test(broker/crypt/vault LINK broker_crypt)
