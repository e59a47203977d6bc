// New_task publishes persistent tasks to a durable queue, as in RabbitMQ's "Work Queues" tutorial, and waits until the
// broker has confirmed them: new_task URI QUEUE TASK...
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
	uri, queue, tasks := os.Args[1], os.Args[2], os.Args[3:]
	connection, err := amqp.Dial(uri)
	failOnError(err, "connecting")
	defer connection.Close()

	channel, err := connection.Channel()
	failOnError(err, "opening a channel")
	defer channel.Close()

	declared, err := channel.QueueDeclare(queue, true, false, false, false, nil)
	failOnError(err, "declaring the queue")
	failOnError(channel.Confirm(false), "asking for confirms")

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, task := range tasks {
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", declared.Name, true, false,
			amqp.Publishing{
				DeliveryMode: amqp.Persistent,
				ContentType:  "text/plain",
				Body:         []byte(task),
			})
		failOnError(err, "publishing")
		confirmed, err := confirmation.WaitContext(ctx)
		failOnError(err, "waiting for the confirm")
		if !confirmed {
			log.Fatalf("%s was refused", task)
		}
	}
}
