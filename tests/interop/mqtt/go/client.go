package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// Client is one of the library's.
type Client struct {
	*paho.Client
	request    *Request // that of the connection
	session    *state.State
	connection net.Conn
	ended      sync.Once // by the program, or by the broker, of which it is told once
}

func connect(r *Request, session *state.State) (*Client, bool, error) {
	uri, err := url.Parse(r.URI)
	if err != nil {
		return nil, false, err
	}
	connection, err := net.Dial("tcp", uri.Host)
	if err != nil {
		return nil, false, err
	}
	c := &Client{request: r, session: session, connection: connection}
	c.Client = paho.NewClient(paho.ClientConfig{
		Conn:                       connection,
		Session:                    session,
		OnPublishReceived:          []func(paho.PublishReceived) (bool, error){c.received},
		OnServerDisconnect:         func(d *paho.Disconnect) { c.closed(d.ReasonCode) },
		OnClientError:              func(error) { c.closed(nil) },
		EnableManualAcknowledgment: !r.Acknowledge,
	})
	connack, err := c.Connect(context.Background(), toConnect(r))
	if connack != nil && connack.ReasonCode >= 0x80 {
		return nil, false, &Refused{connack.ReasonCode, err.Error()}
	}
	if err != nil {
		return nil, false, err
	}
	return c, connack.SessionPresent, nil
}

func (c *Client) received(message paho.PublishReceived) (bool, error) {
	line := fromPublish(message.Packet)
	line["event"], line["client"] = "message", c.request.Client
	send(line)
	return true, nil
}

func (c *Client) closed(code any) {
	c.ended.Do(func() { send(Object{"event": "closed", "client": c.request.Client, "code": code}) })
}

// End also closes what the broker has closed already, of which it says nothing.
func (c *Client) end(code byte, expiry *uint32) {
	c.ended.Do(func() {})
	disconnect := &paho.Disconnect{ReasonCode: code}
	if expiry != nil {
		disconnect.Properties = &paho.DisconnectProperties{SessionExpiryInterval: expiry}
	}
	_ = c.Disconnect(disconnect)
}

func (c *Client) drop() error {
	c.ended.Do(func() {})
	err := c.connection.Close()
	<-c.Done()
	return err
}

func (c *Client) do(r *Request) (any, error) {
	switch r.Op {
	case "subscribe":
		return c.subscribe(r)
	case "unsubscribe":
		_, err := c.Unsubscribe(context.Background(), &paho.Unsubscribe{Topics: []string{r.Filter}})
		return nil, err
	case "publish":
		return nil, c.publish(r)
	}
	return nil, fmt.Errorf("no operation %s", r.Op)
}

func (c *Client) subscribe(r *Request) (any, error) {
	subscribe := &paho.Subscribe{}
	for _, filter := range r.Filters {
		subscribe.Subscriptions = append(subscribe.Subscriptions, paho.SubscribeOptions{
			Topic: filter, QoS: r.QoS, NoLocal: r.Options.NoLocal,
			RetainAsPublished: r.Options.RetainAsPublished, RetainHandling: r.Options.RetainHandling,
		})
	}
	if r.Options.Identifier != nil {
		subscribe.Properties = &paho.SubscribeProperties{SubscriptionIdentifier: r.Options.Identifier}
	}
	suback, err := c.Subscribe(context.Background(), subscribe)
	if err != nil {
		return nil, err
	}
	codes := []int{} // bytes would be written as base64
	for _, reason := range suback.Reasons {
		codes = append(codes, int(reason))
	}
	return codes, nil
}

// Publish sends all, and waits for the acknowledgement of the last: they come in order.
func (c *Client) publish(r *Request) error {
	messages := []*paho.Publish{toPublish(r)}
	if r.Count != nil {
		messages = nil
		for i := 0; i < *r.Count; i++ {
			message := toPublish(r)
			message.Payload = []byte(strconv.Itoa(i))
			messages = append(messages, message)
		}
	}
	for i, message := range messages {
		options := paho.PublishOptions{}
		if !r.Wait || i < len(messages)-1 {
			options.Method = paho.PublishMethod_AsyncSend
		}
		if _, err := c.PublishWithOptions(context.Background(), message, options); err != nil {
			return err
		}
	}
	return nil
}
