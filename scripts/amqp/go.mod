// The AMQP 1.0 client of the tests. Versions are pinned here and in go.sum.
module mq-lag-exporter/amqp

go 1.19

require github.com/Azure/go-amqp v1.0.5
