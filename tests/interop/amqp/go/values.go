package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"
)

const bodyShownMaxBytes = 4096

func toTable(object Object) amqp.Table {
	table := amqp.Table{}
	for name, value := range object {
		table[name] = toField(value)
	}
	return table
}

// ToField gives a field of JSON its type in Go; whole numbers are int64.
func toField(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case []any:
		list := make([]any, len(value))
		for i, item := range value {
			list[i] = toField(item)
		}
		return list
	case Object:
		kind, typed := value["$type"].(string)
		if !typed {
			return toTable(value)
		}
		if text, is := value["value"].(string); is {
			return textField(kind, text)
		}
		return numberField(kind, value["value"].(float64))
	}
	return value
}

func textField(kind, text string) any {
	switch kind {
	case "bytes":
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			log.Fatal(err)
		}
		return decoded
	case "decimal":
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			log.Fatal(err)
		}
		return amqp.Decimal{Scale: 2, Value: int32(math.Round(number * 100))}
	}
	panic("no type " + kind)
}

func numberField(kind string, number float64) any {
	switch kind {
	case "timestamp":
		return time.Unix(int64(number), 0)
	case "int8":
		return int8(number)
	case "uint8":
		return byte(number)
	case "int16":
		return int16(number)
	case "int32":
		return int32(number)
	case "int64":
		return int64(number)
	case "float":
		return float32(number)
	case "double":
		return number
	}
	panic("no type " + kind)
}

func typed(kind string, value any) Object { return Object{"$type": kind, "value": value} }

func fromTable(table amqp.Table) Object {
	object := Object{}
	for name, value := range table {
		object[name] = fromField(value)
	}
	return object
}

func fromField(value any) any {
	switch value := value.(type) {
	case amqp.Table:
		return fromTable(value)
	case []any:
		list := make([]any, len(value))
		for i, item := range value {
			list[i] = fromField(item)
		}
		return list
	case []byte:
		return typed("bytes", base64.StdEncoding.EncodeToString(value))
	case time.Time:
		return typed("timestamp", value.Unix())
	case amqp.Decimal:
		return typed("decimal", fmt.Sprintf("%.*f", value.Scale, float64(value.Value)/math.Pow10(int(value.Scale))))
	case int8:
		return typed("int8", value)
	case byte:
		return typed("uint8", value)
	case int16:
		return typed("int16", value)
	case int32:
		return typed("int32", value)
	case float32:
		return typed("float", value)
	}
	return value
}

// Text is a property, "" when it is not there.
func text(object Object, name string) string {
	value, _ := object[name].(string)
	return value
}

func number(object Object, name string) uint8 {
	value, _ := object[name].(float64)
	return uint8(value)
}

func toPublishing(r *Request) amqp.Publishing {
	p := r.Properties
	body := []byte(r.Body)
	if r.Size != nil {
		body = bytes.Repeat([]byte("0123456789abcdef"), *r.Size/16+1)[:*r.Size]
	}
	message := amqp.Publishing{
		ContentType: text(p, "content_type"), ContentEncoding: text(p, "content_encoding"),
		DeliveryMode: number(p, "delivery_mode"), Priority: number(p, "priority"),
		CorrelationId: text(p, "correlation_id"), ReplyTo: text(p, "reply_to"), Expiration: text(p, "expiration"),
		MessageId: text(p, "message_id"), Type: text(p, "type"), UserId: text(p, "user_id"), AppId: text(p, "app_id"),
		Body: body,
	}
	if headers, given := p["headers"].(Object); given {
		message.Headers = toTable(headers)
	}
	if sent, given := p["timestamp"].(Object); given {
		message.Timestamp = toField(sent).(time.Time)
	}
	return message
}

func shown(body []byte) any {
	if len(body) > bodyShownMaxBytes {
		sum := sha256.Sum256(body)
		return Object{"size": len(body), "sha256": hex.EncodeToString(sum[:])}
	}
	if !utf8.Valid(body) {
		return Object{"base64": base64.StdEncoding.EncodeToString(body)}
	}
	return string(body)
}

func fromDelivery(d *amqp.Delivery) Object {
	return Object{
		"delivery": d.DeliveryTag, "redelivered": d.Redelivered, "exchange": d.Exchange, "key": d.RoutingKey,
		"body": shown(d.Body),
		"properties": properties(d.Headers, d.Timestamp, d.DeliveryMode, d.Priority, map[string]string{
			"content_type": d.ContentType, "content_encoding": d.ContentEncoding, "correlation_id": d.CorrelationId,
			"reply_to": d.ReplyTo, "expiration": d.Expiration, "message_id": d.MessageId, "type": d.Type,
			"user_id": d.UserId, "app_id": d.AppId,
		}),
	}
}

func fromReturn(channel string, r *amqp.Return) Object {
	return Object{
		"event": "returned", "channel": channel, "code": r.ReplyCode, "exchange": r.Exchange, "key": r.RoutingKey,
		"body": shown(r.Body),
		"properties": properties(r.Headers, r.Timestamp, r.DeliveryMode, r.Priority, map[string]string{
			"content_type": r.ContentType, "message_id": r.MessageId, "correlation_id": r.CorrelationId,
		}),
	}
}

// Properties leaves out what has its zero value: the client does not tell it from what is absent.
func properties(headers amqp.Table, sent time.Time, mode, priority uint8, texts map[string]string) Object {
	object := Object{}
	for name, value := range texts {
		if value != "" {
			object[name] = value
		}
	}
	if len(headers) > 0 {
		object["headers"] = fromTable(headers)
	}
	if !sent.IsZero() {
		object["timestamp"] = fromField(sent)
	}
	if mode != 0 {
		object["delivery_mode"] = mode
	}
	if priority != 0 {
		object["priority"] = priority
	}
	return object
}
