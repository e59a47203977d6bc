// Worker does tasks one at a time, as in RabbitMQ's "Work Queues" tutorial: worker URI QUEUE. Each dot in a task is
// 100 ms of work; the task is acknowledged when it is done. It prints "take" and "done" lines and runs until it is
// killed.
package main

import (
	"bytes"
	"fmt"
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
	uri, queue := os.Args[1], os.Args[2]
	connection, err := amqp.Dial(uri)
	failOnError(err, "connecting")
	defer connection.Close()

	channel, err := connection.Channel()
	failOnError(err, "opening a channel")
	defer channel.Close()

	declared, err := channel.QueueDeclare(queue, true, false, false, false, nil)
	failOnError(err, "declaring the queue")
	failOnError(channel.Qos(1, 0, false), "setting prefetch")

	deliveries, err := channel.Consume(declared.Name, "", false, false, false, false, nil)
	failOnError(err, "consuming")
	fmt.Println("ready")
	for delivery := range deliveries {
		fmt.Printf("take %s %t\n", delivery.Body, delivery.Redelivered)
		time.Sleep(time.Duration(bytes.Count(delivery.Body, []byte("."))) * 100 * time.Millisecond)
		failOnError(delivery.Ack(false), "acknowledging")
		fmt.Printf("done %s\n", delivery.Body)
	}
	log.Fatal("the connection has ended")
}
