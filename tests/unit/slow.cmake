# Bad days of docs/replication.md 2.9: slow brokers, wrong clocks, tips of deposed leaders.
weir_unit_test(broker/health/slow LINK broker_health)
weir_unit_test(broker/health/clock LINK broker_health)
weir_unit_test(controller/fitness/fitness LINK controller_fitness)
