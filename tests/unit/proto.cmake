weir_unit_test(proto/wire/seqnum LINK proto_wire)
