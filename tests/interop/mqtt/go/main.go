// Drives paho.golang, which knows MQTT 5 only, by the lines on its standard input; see tests/interop/mqtt/client.py.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"sync"

	"github.com/eclipse/paho.golang/paho/session/state"
)

// Object is a JSON object.
type Object = map[string]any

// Request has the fields of all operations.
type Request struct {
	Op          string
	Client      string
	URI         string
	ClientID    string `json:"client_id"`
	Clean       bool
	Expiry      *uint32
	Username    string
	Password    string
	Acknowledge bool
	Will        *Will
	Code        byte
	Filters     []string
	Filter      string
	Options     Options
	Topic       string
	Body        string
	Size        *int
	QoS         byte
	Retain      bool
	Count       *int
	Wait        bool
	Properties  Properties
}

// Will is what the broker publishes of a client that is lost.
type Will struct {
	Topic      string
	Body       string
	QoS        byte
	Retain     bool
	Delay      uint32
	Properties Properties
}

// Options are those of a subscription.
type Options struct {
	NoLocal           bool `json:"no_local"`
	RetainAsPublished bool `json:"retain_as_published"`
	RetainHandling    byte `json:"retain_handling"`
	Identifier        *int
}

// Refused is a CONNACK's code.
type Refused struct {
	code byte
	text string
}

func (r *Refused) Error() string { return r.text }

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

// Driver has the clients that are open.
type Driver map[string]*Client

func main() {
	driver := Driver{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var request Request
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			log.Fatal(err)
		}
		answer, err := driver.do(&request)
		refused, is := err.(*Refused)
		switch {
		case err == nil:
			send(Object{"answer": answer})
		case is:
			send(Object{"error": Object{"scope": "connect", "code": refused.code, "text": refused.text}})
		default:
			log.Fatalf("%s: %s", request.Op, err)
		}
	}
}

// Resume connects a dropped client again. What is published now is acknowledged after what the session has of it.
func (d Driver) resume(dropped *Client) (any, error) {
	client, present, err := connect(dropped.request, dropped.session)
	if err != nil {
		return nil, err
	}
	d[client.request.Client] = client
	return present, client.publish(&Request{Topic: "resumed", QoS: 2, Wait: true})
}

func (d Driver) do(r *Request) (any, error) {
	switch r.Op {
	case "connect":
		client, present, err := connect(r, state.NewInMemory())
		if err == nil {
			d[r.Client] = client
		}
		return present, err
	case "disconnect":
		d[r.Client].end(r.Code, r.Expiry)
		delete(d, r.Client)
		return nil, nil
	case "drop":
		return nil, d[r.Client].drop()
	case "resume":
		return d.resume(d[r.Client])
	}
	return d[r.Client].do(r)
}
