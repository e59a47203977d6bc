"""The HTTP API, shaped as RabbitMQ's. Imported only when the HTTP listener is on."""
