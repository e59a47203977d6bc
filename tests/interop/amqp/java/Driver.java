import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.CancelCallback;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DeliverCallback;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.client.Method;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Drives RabbitMQ's Java client by the lines on its standard input; see tests/interop/amqp/client.py. */
public final class Driver {
    private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final Map<String, Connection> connections = new HashMap<>();
    private final Map<String, Channel> channels = new HashMap<>();
    private final Set<String> confirming = new HashSet<>();
    private volatile boolean nacked;
    /** The channel whose operation waits: what closes it is the answer, and no event. */
    private volatile String waiting = "";

    public static void main(String[] arguments) throws Exception {
        Driver driver = new Driver();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            send(driver.answer(JsonParser.parseString(line).getAsJsonObject()));
        }
        System.exit(0);
    }

    private static synchronized void send(JsonObject line) {
        OUTPUT.println(line);
    }

    private JsonObject answer(JsonObject r) throws Exception {
        JsonObject line = new JsonObject();
        waiting = isAnswered(r) ? text(r, "channel") : "";
        try {
            line.add("answer", carryOut(r));
        } catch (AuthenticationFailureException refused) {
            line.add("error", error("connection", AMQP.ACCESS_REFUSED, refused.getMessage()));
        } catch (ShutdownSignalException closed) {
            line.add("error", error(closed));
        } catch (IOException failed) {
            if (!(failed.getCause() instanceof ShutdownSignalException closed)) {
                throw failed;
            }
            line.add("error", error(closed));
        } finally {
            waiting = "";
        }
        return line;
    }

    /** What the broker does not answer ends before a close that it brings about may come: that close is an event. */
    private boolean isAnswered(JsonObject r) {
        return switch (text(r, "op")) {
            case "ack", "nack", "reject" -> false;
            case "publish" -> confirming.contains(text(r, "channel"));
            default -> r.has("channel");
        };
    }

    private static JsonObject error(String scope, int code, String text) {
        JsonObject error = new JsonObject();
        error.addProperty("scope", scope);
        error.addProperty("code", code);
        error.addProperty("text", text);
        return error;
    }

    private static JsonObject error(ShutdownSignalException closed) {
        Method reason = closed.getReason();
        if (reason instanceof AMQP.Channel.Close close) {
            return error("channel", close.getReplyCode(), close.getReplyText());
        }
        AMQP.Connection.Close close = (AMQP.Connection.Close) reason;
        return error("connection", close.getReplyCode(), close.getReplyText());
    }

    private static String text(JsonObject r, String name) {
        return r.get(name).getAsString();
    }

    private static boolean flag(JsonObject r, String name) {
        return r.get(name).getAsBoolean();
    }

    private JsonElement carryOut(JsonObject r) throws Exception {
        switch (text(r, "op")) {
            case "connect":
                return connect(r);
            case "close":
                connections.remove(text(r, "connection")).close();
                return JsonNull.INSTANCE;
            case "reset":
                return reset();
            case "channel":
                open(r);
                return JsonNull.INSTANCE;
            default:
                return topology(channels.get(text(r, "channel")), r);
        }
    }

    private JsonElement connect(JsonObject r) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(text(r, "uri"));
        factory.setAutomaticRecoveryEnabled(false);
        if (!r.get("heartbeat").isJsonNull()) {
            factory.setRequestedHeartbeat(r.get("heartbeat").getAsInt());
        }
        Connection connection = factory.newConnection();
        connections.put(text(r, "connection"), connection);
        return Values.shown(connection.getServerProperties());
    }

    private JsonElement reset() throws IOException {
        for (Connection connection : connections.values()) {
            try {
                connection.close();
            } catch (AlreadyClosedException closed) {
                continue; // by the broker, in the scenario
            }
        }
        connections.clear();
        channels.clear();
        confirming.clear();
        return JsonNull.INSTANCE;
    }

    private void open(JsonObject r) throws IOException {
        String name = text(r, "channel");
        Channel channel = connections.get(text(r, "connection")).createChannel();
        channels.put(name, channel);
        if (flag(r, "confirm")) {
            channel.confirmSelect();
            confirming.add(name);
            channel.addConfirmListener((tag, multiple) -> {}, (tag, multiple) -> nacked = true);
        }
        channel.addReturnListener(back -> {
            JsonObject line = event("returned", name);
            line.addProperty("code", back.getReplyCode());
            add(line, back.getExchange(), back.getRoutingKey(), back.getProperties(), back.getBody());
            send(line);
        });
        channel.addShutdownListener(closed -> {
            boolean isEvent = closed.getReason() instanceof AMQP.Channel.Close && !closed.isInitiatedByApplication();
            if (isEvent && !waiting.equals(name)) {
                JsonObject line = event("channel_closed", name);
                error(closed).asMap().forEach(line::add);
                send(line);
            }
        });
    }

    private static JsonObject event(String kind, String channel) {
        JsonObject line = new JsonObject();
        line.addProperty("event", kind);
        line.addProperty("channel", channel);
        return line;
    }

    private static void add(JsonObject line, String exchange, String key, AMQP.BasicProperties properties, byte[] body) {
        line.addProperty("exchange", exchange);
        line.addProperty("key", key);
        line.add("properties", Values.shown(properties));
        line.add("body", Values.shownBody(body));
    }

    private static void add(JsonObject line, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
        line.addProperty("delivery", envelope.getDeliveryTag());
        line.addProperty("redelivered", envelope.isRedeliver());
        add(line, envelope.getExchange(), envelope.getRoutingKey(), properties, body);
    }

    private JsonElement topology(Channel channel, JsonObject r) throws Exception {
        switch (text(r, "op")) {
            case "exchange_declare":
                if (flag(r, "passive")) {
                    channel.exchangeDeclarePassive(text(r, "exchange"));
                } else {
                    channel.exchangeDeclare(text(r, "exchange"), text(r, "type"), flag(r, "durable"),
                            flag(r, "auto_delete"), flag(r, "internal"), Values.table(r.get("arguments")));
                }
                break;
            case "exchange_delete":
                channel.exchangeDelete(text(r, "exchange"), flag(r, "if_unused"));
                break;
            case "exchange_bind":
                channel.exchangeBind(text(r, "destination"), text(r, "source"), text(r, "key"));
                break;
            case "exchange_unbind":
                channel.exchangeUnbind(text(r, "destination"), text(r, "source"), text(r, "key"));
                break;
            case "queue_declare":
                return declare(channel, r);
            case "queue_delete":
                return new JsonPrimitive(
                        channel.queueDelete(text(r, "queue"), flag(r, "if_unused"), flag(r, "if_empty")).getMessageCount());
            case "queue_purge":
                return new JsonPrimitive(channel.queuePurge(text(r, "queue")).getMessageCount());
            case "queue_bind":
                channel.queueBind(text(r, "queue"), text(r, "exchange"), text(r, "key"), Values.table(r.get("arguments")));
                break;
            case "queue_unbind":
                channel.queueUnbind(text(r, "queue"), text(r, "exchange"), text(r, "key"), Values.table(r.get("arguments")));
                break;
            default:
                return messages(channel, r);
        }
        return JsonNull.INSTANCE;
    }

    private static JsonElement declare(Channel channel, JsonObject r) throws IOException {
        AMQP.Queue.DeclareOk ok = flag(r, "passive")
                ? channel.queueDeclarePassive(text(r, "queue"))
                : channel.queueDeclare(text(r, "queue"), flag(r, "durable"), flag(r, "exclusive"), flag(r, "auto_delete"),
                        Values.table(r.get("arguments")));
        JsonArray counted = new JsonArray();
        counted.add(ok.getQueue());
        counted.add(ok.getMessageCount());
        counted.add(ok.getConsumerCount());
        return counted;
    }

    private JsonElement messages(Channel channel, JsonObject r) throws Exception {
        switch (text(r, "op")) {
            case "publish":
                return publish(channel, r);
            case "qos":
                channel.basicQos(r.get("size").getAsInt(), r.get("count").getAsInt(), flag(r, "global"));
                break;
            case "consume":
                return consume(channel, r);
            case "cancel":
                channel.basicCancel(text(r, "tag"));
                break;
            case "get":
                return get(channel, r);
            case "ack":
                channel.basicAck(r.get("delivery").getAsLong(), flag(r, "multiple"));
                break;
            case "nack":
                channel.basicNack(r.get("delivery").getAsLong(), flag(r, "multiple"), flag(r, "requeue"));
                break;
            case "reject":
                channel.basicReject(r.get("delivery").getAsLong(), flag(r, "requeue"));
                break;
            case "recover":
                channel.basicRecover(true);
                break;
            case "tx_select":
                channel.txSelect();
                break;
            case "tx_commit":
                channel.txCommit();
                break;
            case "tx_rollback":
                channel.txRollback();
                break;
            case "close_channel":
                channel.close();
                break;
            default:
                throw new IllegalArgumentException(text(r, "op"));
        }
        return JsonNull.INSTANCE;
    }

    private JsonElement publish(Channel channel, JsonObject r) throws Exception {
        AMQP.BasicProperties properties = Values.properties(r.getAsJsonObject("properties"));
        byte[] body = Values.body(r);
        nacked = false;
        for (int i = 0; i < r.get("count").getAsInt(); i++) {
            channel.basicPublish(text(r, "exchange"), text(r, "key"), flag(r, "mandatory"), properties, body);
        }
        if (!confirming.contains(text(r, "channel"))) {
            return JsonNull.INSTANCE;
        }
        return new JsonPrimitive(channel.waitForConfirms() && !nacked);
    }

    private JsonElement consume(Channel channel, JsonObject r) throws IOException {
        String name = text(r, "channel");
        DeliverCallback deliver = (tag, delivery) -> {
            JsonObject line = event("delivered", name);
            line.addProperty("tag", tag);
            add(line, delivery.getEnvelope(), delivery.getProperties(), delivery.getBody());
            send(line);
        };
        CancelCallback cancelled = tag -> {
            JsonObject line = event("cancelled", name);
            line.addProperty("tag", tag);
            send(line);
        };
        return new JsonPrimitive(channel.basicConsume(text(r, "queue"), flag(r, "no_ack"), text(r, "tag"), false,
                flag(r, "exclusive"), Values.table(r.get("arguments")), deliver, cancelled));
    }

    private static JsonElement get(Channel channel, JsonObject r) throws IOException {
        var got = channel.basicGet(text(r, "queue"), flag(r, "no_ack"));
        if (got == null) {
            return JsonNull.INSTANCE;
        }
        JsonObject message = new JsonObject();
        add(message, got.getEnvelope(), got.getProps(), got.getBody());
        message.addProperty("left", got.getMessageCount());
        return message;
    }
}
