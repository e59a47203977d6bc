// Send is the sender of RabbitMQ's "Hello World" tutorial: send URI QUEUE TEXT.
package main

import (
	"context"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func failOnError(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %s", what, err)
	}
}

func main() {
	uri, queue, text := os.Args[1], os.Args[2], os.Args[3]
	connection, err := amqp.Dial(uri)
	failOnError(err, "connecting")
	defer connection.Close()

	channel, err := connection.Channel()
	failOnError(err, "opening a channel")
	defer channel.Close()

	declared, err := channel.QueueDeclare(queue, false, false, false, false, nil)
	failOnError(err, "declaring the queue")

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = channel.PublishWithContext(ctx, "", declared.Name, false, false, amqp.Publishing{
		ContentType: "text/plain",
		Body:        []byte(text),
	})
	failOnError(err, "publishing")
}
