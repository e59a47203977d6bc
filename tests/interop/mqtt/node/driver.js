'use strict';
// Drives MQTT.js, of the version of MQTT given, by the lines on its standard input; see tests/interop/mqtt/client.py.

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const readline = require('node:readline');
const mqtt = require('mqtt');

const BODY_SHOWN_MAX_BYTES = 4096;
const V5 = process.argv[2] === '5';
const PROPERTIES = {
  content_type: 'contentType',
  response_topic: 'responseTopic',
  correlation_data: 'correlationData',
  message_expiry: 'messageExpiryInterval',
  user_properties: 'userProperties',
  identifiers: 'subscriptionIdentifier',
};
const clients = new Map();
const dropped = new Map();

function send(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function shown(body) {
  if (body.length > BODY_SHOWN_MAX_BYTES) {
    return { size: body.length, sha256: createHash('sha256').update(body).digest('hex') };
  }
  return body.toString();
}

function givenProperties(told) {
  if (!V5) return undefined;
  const given = Object.fromEntries(Object.entries(told).map(([name, value]) => [PROPERTIES[name], value]));
  if (given.correlationData !== undefined) given.correlationData = Buffer.from(given.correlationData);
  if (given.userProperties !== undefined) {
    const pairs = given.userProperties;
    given.userProperties = {};
    for (const [name, value] of pairs) (given.userProperties[name] ??= []).push(value);
  }
  return given;
}

function shownProperties(properties = {}) {
  const found = {};
  for (const [name, own] of Object.entries(PROPERTIES)) {
    if (properties[own] !== undefined) found[name] = properties[own];
  }
  if (found.correlation_data !== undefined) found.correlation_data = found.correlation_data.toString();
  if (found.user_properties !== undefined) {
    found.user_properties = Object.entries(found.user_properties).flatMap(([name, values]) =>
      [values].flat().map((value) => [name, value])
    );
  }
  if (found.identifiers !== undefined) found.identifiers = [found.identifiers].flat();
  return found;
}

function willOf({ topic, body, qos, retain, delay, properties: told }) {
  const properties = V5 ? { willDelayInterval: delay, ...givenProperties(told) } : undefined;
  return { topic, payload: Buffer.from(body), qos, retain, properties };
}

function connect(r) {
  const options = {
    protocolVersion: V5 ? 5 : 4,
    clientId: r.client_id,
    clean: r.clean,
    username: r.username,
    password: r.password,
    reconnectPeriod: 0,
    properties: V5 ? { sessionExpiryInterval: r.expiry } : undefined,
  };
  if (r.will !== null) options.will = willOf(r.will);
  const show = (topic, body, { qos, retain, dup, properties }) => {
    const line = { topic, body: shown(body), qos, retain, dup, properties: shownProperties(properties) };
    send({ event: 'message', client: r.client, ...line });
  };
  // MQTT 5: says how a message of QoS 1 or 2 is to be acknowledged, which it is when this has called back.
  if (!r.acknowledge) options.customHandleAcks = show;
  const client = mqtt.connect(r.uri, options);
  client.on('message', show);
  // 3.1.1: a message of QoS 1 is acknowledged when this has called back.
  if (!r.acknowledge) client.handleMessage = () => {};
  return new Promise((resolve, reject) => {
    client.on('error', (error) => {
      client.end(true);
      reject(error);
    });
    client.on('connect', (connack) => {
      client.stream.setNoDelay(true); // else a small packet waits for up to 40 ms, until TCP has acknowledged the last
      clients.set(r.client, client);
      let code = null;
      client.on('disconnect', (packet) => (code = packet.reasonCode));
      client.on('close', () => {
        if (clients.delete(r.client)) send({ event: 'closed', client: r.client, code });
      });
      resolve(connack.sessionPresent);
    });
  });
}

async function subscribe(client, r) {
  const options = { qos: r.qos };
  if (V5) {
    options.nl = r.options.no_local ?? false;
    options.rap = r.options.retain_as_published ?? false;
    options.rh = r.options.retain_handling ?? 0;
    if (r.options.identifier !== undefined) options.properties = { subscriptionIdentifier: r.options.identifier };
  }
  return (await client.subscribeAsync(r.filters, options)).map((granted) => granted.qos);
}

async function publish(client, r) {
  const one = r.size === null ? Buffer.from(r.body) : Buffer.alloc(r.size, '0123456789abcdef');
  const bodies = r.count === null ? [one] : Array.from({ length: r.count }, (_, number) => String(number));
  const options = { qos: r.qos, retain: r.retain, properties: givenProperties(r.properties) };
  client.published = Promise.all(bodies.map((body) => client.publishAsync(r.topic, body, options)));
  if (r.wait) await client.published;
  return null;
}

async function resume(client) {
  const { incomingStore, outgoingStore } = client; // else it begins with empty ones
  client.reconnect({ incomingStore, outgoingStore });
  const [connack] = await once(client, 'connect');
  await client.published;
  return connack.sessionPresent;
}

function goodbye(r) {
  if (!V5) return {};
  const properties = r.expiry === null ? undefined : { sessionExpiryInterval: r.expiry };
  return { reasonCode: r.code, properties };
}

async function carryOut(r) {
  if (r.op === 'connect') return connect(r);
  if (r.op === 'resume') return resume(dropped.get(r.client));
  const client = clients.get(r.client);
  switch (r.op) {
    case 'subscribe':
      return subscribe(client, r);
    case 'unsubscribe':
      await client.unsubscribeAsync(r.filter);
      return null;
    case 'publish':
      return publish(client, r);
    case 'disconnect':
      // Not one that the broker has closed.
      if (clients.delete(r.client)) await client.endAsync(false, goodbye(r));
      return null;
    case 'drop':
      clients.delete(r.client);
      dropped.set(r.client, client);
      client.stream.destroy();
      await once(client, 'close');
      return null;
    default:
      throw new Error(`no operation ${r.op}`);
  }
}

async function answer(r) {
  try {
    return { answer: await carryOut(r) };
  } catch (error) {
    if (r.op !== 'connect' || !Number.isInteger(error.code)) throw error;
    return { error: { scope: 'connect', code: error.code, text: error.message } };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    send(await answer(JSON.parse(line)));
  }
  process.exit(0);
}

main();
