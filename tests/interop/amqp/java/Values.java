import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.LongString;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Date;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Fields, properties and bodies between JSON and the client. */
final class Values {
    private static final int BODY_SHOWN_MAX_BYTES = 4096;

    private Values() {}

    static Map<String, Object> table(JsonElement element) {
        Map<String, Object> table = new LinkedHashMap<>();
        element.getAsJsonObject().asMap().forEach((name, value) -> table.put(name, field(value)));
        return table;
    }

    /** Whole numbers are Long, as RabbitMQ's own counts are. */
    static Object field(JsonElement element) {
        if (element.isJsonNull()) {
            return null;
        }
        if (element.isJsonArray()) {
            List<Object> list = new ArrayList<>();
            element.getAsJsonArray().forEach(item -> list.add(field(item)));
            return list;
        }
        if (element.isJsonObject()) {
            JsonObject object = element.getAsJsonObject();
            return object.has("$type") ? typed(object.get("$type").getAsString(), object.get("value")) : table(object);
        }
        JsonPrimitive primitive = element.getAsJsonPrimitive();
        if (primitive.isBoolean()) {
            return primitive.getAsBoolean();
        }
        return primitive.isNumber() ? (Object) primitive.getAsLong() : primitive.getAsString();
    }

    private static Object typed(String type, JsonElement value) {
        return switch (type) {
            case "bytes" -> Base64.getDecoder().decode(value.getAsString());
            case "decimal" -> new BigDecimal(value.getAsString());
            case "timestamp" -> new Date(value.getAsLong() * 1000);
            case "int8" -> value.getAsByte();
            case "int16" -> value.getAsShort();
            case "int32" -> value.getAsInt();
            case "int64" -> value.getAsLong();
            case "float" -> value.getAsFloat();
            case "double" -> value.getAsDouble();
            default -> throw new IllegalArgumentException("Java has no " + type);
        };
    }

    private static JsonObject shownTyped(String type, JsonElement value) {
        JsonObject object = new JsonObject();
        object.addProperty("$type", type);
        object.add("value", value);
        return object;
    }

    static JsonElement shown(Object value) {
        if (value == null) {
            return JsonNull.INSTANCE;
        }
        if (value instanceof Map<?, ?> map) {
            JsonObject object = new JsonObject();
            map.forEach((name, item) -> object.add(name.toString(), shown(item)));
            return object;
        }
        if (value instanceof List<?> list) {
            JsonArray array = new JsonArray();
            list.forEach(item -> array.add(shown(item)));
            return array;
        }
        if (value instanceof byte[] bytes) {
            return shownTyped("bytes", new JsonPrimitive(Base64.getEncoder().encodeToString(bytes)));
        }
        if (value instanceof LongString || value instanceof String) {
            return new JsonPrimitive(value.toString());
        }
        if (value instanceof Boolean bool) {
            return new JsonPrimitive(bool);
        }
        if (value instanceof Date date) {
            return shownTyped("timestamp", new JsonPrimitive(date.getTime() / 1000));
        }
        if (value instanceof BigDecimal decimal) {
            return shownTyped("decimal", new JsonPrimitive(decimal.toPlainString()));
        }
        return number((Number) value);
    }

    private static JsonElement number(Number value) {
        JsonPrimitive shown = new JsonPrimitive(value);
        if (value instanceof Byte) {
            return shownTyped("int8", shown);
        }
        if (value instanceof Short) {
            return shownTyped("int16", shown);
        }
        if (value instanceof Integer) {
            return shownTyped("int32", shown);
        }
        return value instanceof Float ? shownTyped("float", shown) : shown;
    }

    private static String text(JsonObject given, String name) {
        return given.has(name) ? given.get(name).getAsString() : null;
    }

    private static Integer number(JsonObject given, String name) {
        return given.has(name) ? Integer.valueOf(given.get(name).getAsInt()) : null;
    }

    static BasicProperties properties(JsonObject given) {
        return new BasicProperties(
                text(given, "content_type"),
                text(given, "content_encoding"),
                given.has("headers") ? table(given.get("headers")) : null,
                number(given, "delivery_mode"),
                number(given, "priority"),
                text(given, "correlation_id"),
                text(given, "reply_to"),
                text(given, "expiration"),
                text(given, "message_id"),
                given.has("timestamp") ? (Date) field(given.get("timestamp")) : null,
                text(given, "type"),
                text(given, "user_id"),
                text(given, "app_id"),
                null);
    }

    static JsonObject shown(BasicProperties own) {
        Map<String, JsonElement> all = new LinkedHashMap<>();
        all.put("content_type", shown(own.getContentType()));
        all.put("content_encoding", shown(own.getContentEncoding()));
        all.put("headers", shown(own.getHeaders()));
        all.put("correlation_id", shown(own.getCorrelationId()));
        all.put("reply_to", shown(own.getReplyTo()));
        all.put("expiration", shown(own.getExpiration()));
        all.put("message_id", shown(own.getMessageId()));
        all.put("timestamp", shown(own.getTimestamp()));
        all.put("type", shown(own.getType()));
        all.put("user_id", shown(own.getUserId()));
        all.put("app_id", shown(own.getAppId()));
        all.put("delivery_mode", own.getDeliveryMode() == null ? JsonNull.INSTANCE : new JsonPrimitive(own.getDeliveryMode()));
        all.put("priority", own.getPriority() == null ? JsonNull.INSTANCE : new JsonPrimitive(own.getPriority()));
        JsonObject object = new JsonObject();
        all.forEach((name, value) -> {
            if (!value.isJsonNull()) {
                object.add(name, value);
            }
        });
        return object;
    }

    static byte[] body(JsonObject request) {
        if (request.get("size").isJsonNull()) {
            return request.get("body").getAsString().getBytes(StandardCharsets.UTF_8);
        }
        byte[] body = new byte[request.get("size").getAsInt()];
        for (int i = 0; i < body.length; i++) {
            body[i] = (byte) "0123456789abcdef".charAt(i % 16);
        }
        return body;
    }

    static JsonElement shownBody(byte[] body) {
        JsonObject object = new JsonObject();
        if (body.length > BODY_SHOWN_MAX_BYTES) {
            object.addProperty("size", body.length);
            object.addProperty("sha256", HexFormat.of().formatHex(sha256(body)));
            return object;
        }
        String text = new String(body, StandardCharsets.UTF_8);
        if (Arrays.equals(text.getBytes(StandardCharsets.UTF_8), body)) {
            return new JsonPrimitive(text);
        }
        object.addProperty("base64", Base64.getEncoder().encodeToString(body));
        return object;
    }

    private static byte[] sha256(byte[] body) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(body);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
