// Receive is the receiver of RabbitMQ's "Hello World" tutorial: receive URI QUEUE COUNT. It prints each message and
// ends after COUNT of them.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

func failOnError(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %s", what, err)
	}
}

func main() {
	uri, queue := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	failOnError(err, "reading COUNT")

	connection, err := amqp.Dial(uri)
	failOnError(err, "connecting")
	defer connection.Close()

	channel, err := connection.Channel()
	failOnError(err, "opening a channel")
	defer channel.Close()

	declared, err := channel.QueueDeclare(queue, false, false, false, false, nil)
	failOnError(err, "declaring the queue")

	deliveries, err := channel.Consume(declared.Name, "", true, false, false, false, nil)
	failOnError(err, "consuming")
	for delivery := range deliveries {
		fmt.Printf("%s %s\n", delivery.ContentType, delivery.Body)
		if count--; count == 0 {
			return
		}
	}
	log.Fatal("the connection has ended")
}
