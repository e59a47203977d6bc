package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"
)

const (
	bodyShownMaxBytes = 4096
	keepAliveS        = 60
)

// Properties are those of a message.
type Properties struct {
	ContentType     string      `json:"content_type"`
	ResponseTopic   string      `json:"response_topic"`
	CorrelationData *string     `json:"correlation_data"`
	MessageExpiry   *uint32     `json:"message_expiry"`
	UserProperties  [][2]string `json:"user_properties"`
}

func (p *Properties) user() paho.UserProperties {
	var user paho.UserProperties
	for _, pair := range p.UserProperties {
		user.Add(pair[0], pair[1])
	}
	return user
}

func (p *Properties) correlation() []byte {
	if p.CorrelationData == nil {
		return nil
	}
	return []byte(*p.CorrelationData)
}

func toConnect(r *Request) *paho.Connect {
	packet := &paho.Connect{
		ClientID: r.ClientID, CleanStart: r.Clean, KeepAlive: keepAliveS,
		Username: r.Username, UsernameFlag: true, Password: []byte(r.Password), PasswordFlag: true,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: r.Expiry, RequestProblemInfo: true},
	}
	if will := r.Will; will != nil {
		p := &will.Properties
		packet.WillMessage = &paho.WillMessage{
			Topic: will.Topic, Payload: []byte(will.Body), QoS: will.QoS, Retain: will.Retain,
		}
		packet.WillProperties = &paho.WillProperties{
			WillDelayInterval: &will.Delay, MessageExpiry: p.MessageExpiry, ContentType: p.ContentType,
			ResponseTopic: p.ResponseTopic, CorrelationData: p.correlation(), User: p.user(),
		}
	}
	return packet
}

func toPublish(r *Request) *paho.Publish {
	body, p := []byte(r.Body), &r.Properties
	if r.Size != nil {
		body = bytes.Repeat([]byte("0123456789abcdef"), *r.Size/16+1)[:*r.Size]
	}
	return &paho.Publish{
		Topic: r.Topic, QoS: r.QoS, Retain: r.Retain, Payload: body,
		Properties: &paho.PublishProperties{
			ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.correlation(),
			MessageExpiry: p.MessageExpiry, User: p.user(),
		},
	}
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

func fromPublish(p *paho.Publish) Object {
	return Object{
		"topic": p.Topic, "body": shown(p.Payload), "qos": p.QoS, "retain": p.Retain, "dup": p.Duplicate(),
		"properties": fromProperties(p.Properties),
	}
}

// FromProperties leaves out empty texts, which the client does not tell from absent ones.
func fromProperties(p *paho.PublishProperties) Object {
	object := Object{}
	if p.ContentType != "" {
		object["content_type"] = p.ContentType
	}
	if p.ResponseTopic != "" {
		object["response_topic"] = p.ResponseTopic
	}
	if p.CorrelationData != nil {
		object["correlation_data"] = string(p.CorrelationData)
	}
	if p.MessageExpiry != nil {
		object["message_expiry"] = *p.MessageExpiry
	}
	if len(p.User) > 0 {
		pairs := [][2]string{}
		for _, pair := range p.User {
			pairs = append(pairs, [2]string{pair.Key, pair.Value})
		}
		object["user_properties"] = pairs
	}
	if p.SubscriptionIdentifier != nil {
		object["identifiers"] = []int{*p.SubscriptionIdentifier}
	}
	return object
}
