// Drives amqp091-go by the lines on its standard input; see tests/interop/amqp/client.py.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"log"
	"os"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Object is a JSON object.
type Object = map[string]any

// Request has the fields of all operations.
type Request struct {
	Op          string
	Connection  string
	Channel     string
	URI         string
	Heartbeat   *int
	Confirm     bool
	Exchange    string
	Type        string
	Queue       string
	Source      string
	Destination string
	Key         string
	Passive     bool
	Durable     bool
	Exclusive   bool
	AutoDelete  bool `json:"auto_delete"`
	Internal    bool
	IfUnused    bool `json:"if_unused"`
	IfEmpty     bool `json:"if_empty"`
	Arguments   Object
	Properties  Object
	Body        string
	Size        *int
	Count       int
	Mandatory   bool
	Global      bool
	Tag         string
	NoAck       bool `json:"no_ack"`
	Delivery    uint64
	Multiple    bool
	Requeue     bool
}

var output sync.Mutex

func send(line Object) {
	text, err := json.Marshal(line)
	if err != nil {
		log.Fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// Driver has what is open.
type Driver struct {
	connections map[string]*amqp.Connection
	channels    map[string]*Channel
}

// Channel is one of the client's, and what it was opened for.
type Channel struct {
	*amqp.Channel
	name     string
	confirms bool
	closed   chan struct{}
	fault    *amqp.Error // why, once it is closed
}

func main() {
	driver := Driver{map[string]*amqp.Connection{}, map[string]*Channel{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var request Request
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			log.Fatal(err)
		}
		answer, err := driver.do(&request)
		var refused *amqp.Error
		switch {
		case err == nil:
			send(Object{"answer": answer})
		case errors.As(err, &refused):
			send(Object{"error": Object{"scope": driver.scope(&request), "code": refused.Code, "text": refused.Reason}})
		default:
			log.Fatalf("%s: %s", request.Op, err)
		}
	}
}

// Scope says what the broker has closed: the connection, when it is no longer there.
func (d *Driver) scope(r *Request) string {
	if r.Op == "connect" {
		return "connection"
	}
	if r.Op == "channel" {
		return "channel"
	}
	for _, connection := range d.connections {
		if connection.IsClosed() {
			return "connection"
		}
	}
	return "channel"
}

func (d *Driver) do(r *Request) (any, error) {
	switch r.Op {
	case "connect":
		return d.connect(r)
	case "close":
		connection := d.connections[r.Connection]
		delete(d.connections, r.Connection)
		return nil, connection.Close()
	case "reset":
		for name, connection := range d.connections {
			if err := connection.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
				return nil, err
			}
			delete(d.connections, name)
		}
		clear(d.channels)
		return nil, nil
	case "channel":
		return nil, d.channel(r)
	}
	return d.channels[r.Channel].do(r)
}

func (d *Driver) connect(r *Request) (any, error) {
	config := amqp.Config{}
	if r.Heartbeat != nil {
		config.Heartbeat = seconds(*r.Heartbeat)
	}
	connection, err := amqp.DialConfig(r.URI, config)
	if err != nil {
		return nil, err
	}
	d.connections[r.Connection] = connection
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		if err := <-closed; err != nil && err.Server {
			send(Object{"event": "connection_closed", "connection": r.Connection, "code": err.Code, "text": err.Reason})
		}
	}()
	return fromTable(connection.Properties), nil
}

func (d *Driver) channel(r *Request) error {
	opened, err := d.connections[r.Connection].Channel()
	if err != nil {
		return err
	}
	if r.Confirm {
		if err := opened.Confirm(false); err != nil {
			return err
		}
	}
	channel := &Channel{Channel: opened, name: r.Channel, confirms: r.Confirm, closed: make(chan struct{})}
	d.channels[r.Channel] = channel
	closed := opened.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := opened.NotifyCancel(make(chan string, 1))
	returned := opened.NotifyReturn(make(chan amqp.Return, 1))
	go func() {
		for tag := range cancelled {
			send(Object{"event": "cancelled", "channel": r.Channel, "tag": tag})
		}
	}()
	go func() {
		for back := range returned {
			send(fromReturn(r.Channel, &back))
		}
	}()
	go func() {
		err := <-closed
		channel.fault = err
		close(channel.closed)
		if err != nil && err.Server {
			send(Object{"event": "channel_closed", "channel": r.Channel, "code": err.Code, "text": err.Reason})
		}
	}()
	return nil
}
