"""A development broker that reads the very Knative manifests of `infra/knative` (serverless.md §3.7).

It answers and delivers as Knative's brokers were recorded to do, in one process, and keeps undelivered events in
PostgreSQL. At scale Knative Eventing on Kafka or RabbitMQ takes its place with the same manifests.
"""
