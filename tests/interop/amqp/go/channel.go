package main

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func seconds(number int) time.Duration { return time.Duration(number) * time.Second }

func (c *Channel) do(r *Request) (any, error) {
	arguments := toTable(r.Arguments)
	switch r.Op {
	case "close_channel":
		return nil, c.Close()
	case "exchange_declare":
		declare := c.ExchangeDeclare
		if r.Passive {
			declare = c.ExchangeDeclarePassive
		}
		return nil, declare(r.Exchange, r.Type, r.Durable, r.AutoDelete, r.Internal, false, arguments)
	case "exchange_delete":
		return nil, c.ExchangeDelete(r.Exchange, r.IfUnused, false)
	case "exchange_bind":
		return nil, c.ExchangeBind(r.Destination, r.Key, r.Source, false, arguments)
	case "exchange_unbind":
		return nil, c.ExchangeUnbind(r.Destination, r.Key, r.Source, false, arguments)
	case "queue_declare":
		declare := c.QueueDeclare
		if r.Passive {
			declare = c.QueueDeclarePassive
		}
		queue, err := declare(r.Queue, r.Durable, r.AutoDelete, r.Exclusive, false, arguments)
		return []any{queue.Name, queue.Messages, queue.Consumers}, err
	case "queue_delete":
		return c.QueueDelete(r.Queue, r.IfUnused, r.IfEmpty, false)
	case "queue_purge":
		return c.QueuePurge(r.Queue, false)
	case "queue_bind":
		return nil, c.QueueBind(r.Queue, r.Key, r.Exchange, false, arguments)
	case "queue_unbind":
		return nil, c.QueueUnbind(r.Queue, r.Key, r.Exchange, arguments)
	case "publish":
		return c.publish(r)
	case "qos":
		size := 0
		if r.Size != nil {
			size = *r.Size
		}
		return nil, c.Qos(r.Count, size, r.Global)
	case "consume":
		return c.consume(r, arguments)
	case "cancel":
		return nil, c.Cancel(r.Tag, false)
	case "get":
		return c.get(r)
	}
	return nil, c.settle(r)
}

func (c *Channel) settle(r *Request) error {
	switch r.Op {
	case "ack":
		return c.Ack(r.Delivery, r.Multiple)
	case "nack":
		return c.Nack(r.Delivery, r.Multiple, r.Requeue)
	case "reject":
		return c.Reject(r.Delivery, r.Requeue)
	case "recover":
		return c.Recover(true)
	case "tx_select":
		return c.Tx()
	case "tx_commit":
		return c.TxCommit()
	case "tx_rollback":
		return c.TxRollback()
	}
	return fmt.Errorf("no operation %s", r.Op)
}

// Publish sends all, then waits for the confirms.
func (c *Channel) publish(r *Request) (any, error) {
	message := toPublishing(r)
	var waiting []*amqp.DeferredConfirmation
	for i := 0; i < r.Count; i++ {
		confirmation, err := c.PublishWithDeferredConfirm(r.Exchange, r.Key, r.Mandatory, false, message)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, confirmation)
	}
	if !c.confirms {
		return nil, nil
	}
	all := true
	for _, confirmation := range waiting {
		acked, err := confirmation.WaitContext(context.Background())
		if err != nil {
			return nil, err
		}
		all = all && acked
	}
	if !all && c.IsClosed() { // what was not confirmed is not acked
		<-c.closed
		return nil, c.fault
	}
	return all, nil
}

func (c *Channel) consume(r *Request, arguments amqp.Table) (any, error) {
	tag := r.Tag
	if tag == "" {
		tag = fmt.Sprintf("ctag-%d", time.Now().UnixNano())
	}
	deliveries, err := c.Consume(r.Queue, tag, r.NoAck, r.Exclusive, false, false, arguments)
	if err != nil {
		return nil, err
	}
	go func() {
		for delivery := range deliveries {
			line := fromDelivery(&delivery)
			line["event"], line["channel"], line["tag"] = "delivered", c.name, delivery.ConsumerTag
			send(line)
		}
	}()
	return tag, nil
}

func (c *Channel) get(r *Request) (any, error) {
	delivery, found, err := c.Get(r.Queue, r.NoAck)
	if err != nil || !found {
		return nil, err
	}
	line := fromDelivery(&delivery)
	line["left"] = delivery.MessageCount
	return line, nil
}
