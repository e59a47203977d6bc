'use strict';
// Drives amqplib by the lines on its standard input; see tests/interop/amqp/client.py.

const { createHash } = require('node:crypto');
const readline = require('node:readline');
const amqp = require('amqplib');

const BODY_SHOWN_MAX_BYTES = 4096;
const PROPERTIES = {
  content_type: 'contentType',
  content_encoding: 'contentEncoding',
  headers: 'headers',
  delivery_mode: 'deliveryMode',
  priority: 'priority',
  correlation_id: 'correlationId',
  reply_to: 'replyTo',
  expiration: 'expiration',
  message_id: 'messageId',
  timestamp: 'timestamp',
  type: 'type',
  user_id: 'userId',
  app_id: 'appId',
};

const connections = new Map();
const channels = new Map();
// The channel whose operation waits for its answer: what closes it is that answer, and no event.
let waiting = null;

function send(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

// A field of JSON as amqplib takes it.
function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== 'object') return value;
  switch (value.$type) {
    case undefined:
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, fromJson(item)]));
    case 'bytes':
      return Buffer.from(value.value, 'base64');
    case 'decimal':
      return { '!': 'decimal', value: { places: 2, digits: Math.round(Number(value.value) * 100) } };
    default:
      return { '!': value.$type, value: value.value };
  }
}

function toJson(value) {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(toJson);
  if (Buffer.isBuffer(value)) return { $type: 'bytes', value: value.toString('base64') };
  if (value === null || typeof value !== 'object') return value;
  if (value['!'] === 'decimal') {
    const { places, digits } = value.value;
    return { $type: 'decimal', value: (digits / 10 ** places).toFixed(places) };
  }
  if (value['!'] !== undefined) return { $type: value['!'], value: toJson(value.value) };
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, toJson(item)]));
}

function shown(body) {
  if (body.length > BODY_SHOWN_MAX_BYTES) {
    return { size: body.length, sha256: createHash('sha256').update(body).digest('hex') };
  }
  const text = body.toString();
  return Buffer.from(text).equals(body) ? text : { base64: body.toString('base64') };
}

function shownMessage({ fields, properties, content }) {
  const given = {};
  for (const [name, own] of Object.entries(PROPERTIES)) {
    if (properties[own] !== undefined) given[name] = toJson(properties[own]);
  }
  if (given.timestamp !== undefined) given.timestamp = { $type: 'timestamp', value: given.timestamp };
  return { exchange: fields.exchange, key: fields.routingKey, properties: given, body: shown(content) };
}

function shownDelivery(message) {
  const { deliveryTag, redelivered } = message.fields;
  return { delivery: deliveryTag, redelivered, ...shownMessage(message) };
}

function options(r) {
  const given = { mandatory: r.mandatory };
  for (const [name, value] of Object.entries(r.properties)) {
    given[PROPERTIES[name]] = name === 'timestamp' ? value.value : fromJson(value);
  }
  return given;
}

function bodyOf(r) {
  return r.size === null ? Buffer.from(r.body) : Buffer.alloc(r.size, '0123456789abcdef');
}

async function publish(channel, r) {
  const given = options(r);
  const body = bodyOf(r);
  if (!channel.confirms) {
    for (let i = 0; i < r.count; i++) channel.publish(r.exchange, r.key, body, given);
    return null;
  }
  const confirms = Array.from(
    { length: r.count },
    () => new Promise((resolve) => channel.publish(r.exchange, r.key, body, given, (error) => resolve(error === null)))
  );
  // A close comes in the place of confirms.
  const closed = new Promise((_, reject) => (channel.refuse = reject));
  return (await Promise.race([Promise.all(confirms), closed])).every(Boolean);
}

async function consume(channel, r) {
  let tag = r.tag;
  const deliver = (message) => {
    if (message === null) send({ event: 'cancelled', channel: r.channel, tag });
    else {
      send({ event: 'delivered', channel: r.channel, tag: message.fields.consumerTag, ...shownDelivery(message) });
    }
  };
  const given = { noAck: r.no_ack, exclusive: r.exclusive, arguments: fromJson(r.arguments) };
  if (r.tag) given.consumerTag = r.tag;
  ({ consumerTag: tag } = await channel.consume(r.queue, deliver, given));
  return tag;
}

// What ack and its like take: a message, of which they look at the delivery tag.
const delivered = (r) => ({ fields: { deliveryTag: r.delivery } });

const OF_CHANNEL = {
  close_channel: (channel) => channel.close(),
  exchange_declare: (channel, r) =>
    r.passive
      ? channel.checkExchange(r.exchange)
      : channel.assertExchange(r.exchange, r.type, {
          durable: r.durable,
          autoDelete: r.auto_delete,
          internal: r.internal,
          arguments: fromJson(r.arguments),
        }),
  exchange_delete: (channel, r) => channel.deleteExchange(r.exchange, { ifUnused: r.if_unused }),
  exchange_bind: (channel, r) => channel.bindExchange(r.destination, r.source, r.key, fromJson(r.arguments)),
  exchange_unbind: (channel, r) => channel.unbindExchange(r.destination, r.source, r.key, fromJson(r.arguments)),
  queue_declare: async (channel, r) => {
    const given = { durable: r.durable, exclusive: r.exclusive, autoDelete: r.auto_delete };
    const ok = r.passive
      ? await channel.checkQueue(r.queue)
      : await channel.assertQueue(r.queue, { ...given, arguments: fromJson(r.arguments) });
    return [ok.queue, ok.messageCount, ok.consumerCount];
  },
  queue_delete: async (channel, r) => {
    const given = { ifUnused: r.if_unused, ifEmpty: r.if_empty };
    return (await channel.deleteQueue(r.queue, given)).messageCount;
  },
  queue_purge: async (channel, r) => (await channel.purgeQueue(r.queue)).messageCount,
  queue_bind: (channel, r) => channel.bindQueue(r.queue, r.exchange, r.key, fromJson(r.arguments)),
  queue_unbind: (channel, r) => channel.unbindQueue(r.queue, r.exchange, r.key, fromJson(r.arguments)),
  publish,
  qos: (channel, r) => channel.prefetch(r.count, r.global),
  consume,
  cancel: (channel, r) => channel.cancel(r.tag),
  get: async (channel, r) => {
    const message = await channel.get(r.queue, { noAck: r.no_ack });
    return message === false ? null : { ...shownDelivery(message), left: message.fields.messageCount };
  },
  ack: (channel, r) => channel.ack(delivered(r), r.multiple),
  nack: (channel, r) => channel.nack(delivered(r), r.multiple, r.requeue),
  reject: (channel, r) => channel.reject(delivered(r), r.requeue),
  recover: (channel) => channel.recover(),
};
const WITH_ANSWER = new Set(['queue_declare', 'queue_delete', 'queue_purge', 'publish', 'consume', 'get']);

async function connect(r) {
  const uri = new URL(r.uri);
  if (r.heartbeat !== null) uri.searchParams.set('heartbeat', r.heartbeat);
  // Else a small frame waits for up to 40 ms, until TCP has acknowledged the one before.
  const connection = await amqp.connect(uri.href, { noDelay: true });
  connections.set(r.connection, connection);
  connection.on('error', (error) => {
    connections.delete(r.connection);
    send({ event: 'connection_closed', connection: r.connection, code: error.code, text: error.message });
  });
  return toJson(connection.connection.serverProperties);
}

async function open(r) {
  const connection = connections.get(r.connection);
  const channel = await (r.confirm ? connection.createConfirmChannel() : connection.createChannel());
  channel.confirms = r.confirm;
  channels.set(r.channel, channel);
  channel.on('return', (message) => {
    send({ event: 'returned', channel: r.channel, code: message.fields.replyCode, ...shownMessage(message) });
  });
  channel.on('error', (error) => {
    channels.delete(r.channel);
    channel.refuse?.(error);
    if (waiting === r.channel) return;
    send({ event: 'channel_closed', channel: r.channel, code: error.code, text: error.message });
  });
}

async function closeAll() {
  channels.clear();
  const open = [...connections.values()];
  connections.clear();
  await Promise.all(open.map((connection) => connection.close()));
}

async function carryOut(r) {
  if (r.op === 'connect') return connect(r);
  if (r.op === 'close') {
    await connections.get(r.connection).close();
    connections.delete(r.connection);
    return null;
  }
  if (r.op === 'reset') {
    await closeAll();
    return null;
  }
  if (r.op === 'channel') {
    await open(r);
    return null;
  }
  waiting = r.channel;
  const answer = await OF_CHANNEL[r.op](channels.get(r.channel), r);
  return WITH_ANSWER.has(r.op) ? answer : null;
}

async function answer(r) {
  try {
    return { answer: await carryOut(r) };
  } catch (error) {
    // A refused login is told as text only, a refused vhost without its code.
    const refusedVhost = error.message.includes('got <ConnectionClose') ? 0 : undefined;
    const code = error.code ?? refusedVhost ?? Number(/terminated by server: (\d+)/.exec(error.message)?.[1]);
    if (!Number.isInteger(code)) throw error;
    return { error: { scope: r.op === 'connect' ? 'connection' : 'channel', code, text: error.message } };
  } finally {
    waiting = null;
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    send(await answer(JSON.parse(line)));
  }
  process.exit(0);
}

main();
