weir_unit_test(broker/gateway/api LINK broker_gateway_api)
weir_unit_test(broker/gateway/base64 LINK broker_gateway_api)
weir_unit_test(broker/gateway/cbor LINK broker_gateway_api)
weir_unit_test(broker/gateway/event_stream LINK broker_gateway_api)
weir_unit_test(broker/gateway/iterator LINK broker_gateway_api)
weir_unit_test(broker/gateway/json LINK broker_gateway_api)
weir_unit_test(broker/gateway/sigv4 LINK broker_gateway_api)
weir_unit_test(broker/gateway/validate LINK broker_gateway_api)

# Skipped without a botocore of the right age: it is no dependency of the build.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
    add_test(NAME unit/broker/gateway/model
        COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/unit/broker/gateway/model_test.py)
    set_tests_properties(unit/broker/gateway/model PROPERTIES SKIP_RETURN_CODE 77)
endif()
