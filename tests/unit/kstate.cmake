# Keys: what seals them at the controllers, and what brokers know of them.
weir_unit_test(controller/secret/secret LINK controller_secret)
weir_unit_test(broker/keys/keys LINK broker_keys)
