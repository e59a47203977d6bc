"""Named AMQP 0-9-1 frames as data: what they are, and the bytes that another implementation (pika) makes of them."""

from edge.amqp091 import spec
from edge.core.table import Int32

METHODS: dict[str, tuple[spec.Method, int, str]] = {
    "connection_start": (
        spec.Start(
            version_major=0,
            version_minor=9,
            server_properties={"product": "RabbitMQ", "capabilities": {"basic.nack": True}},
            mechanisms=b"PLAIN AMQPLAIN",
            locales=b"en_US",
        ),
        0,
        "01000000000059000a000a0009000000340770726f6475637453000000085261626269744d510c6361706162696c6974"
        "696573460000000d0a62617369632e6e61636b74010000000e504c41494e20414d51504c41494e00000005656e5f5553"
        "ce",
    ),
    "connection_start_ok": (
        spec.StartOk(
            client_properties={"product": "pika"},
            mechanism="PLAIN",
            response=b"\x00guest\x00guest",
            locale="en_US",
        ),
        0,
        "01000000000035000a000b000000110770726f64756374530000000470696b6105504c41494e0000000c006775657374"
        "00677565737405656e5f5553ce",
    ),
    "connection_tune": (
        spec.Tune(channel_max=2047, frame_max=131072, heartbeat=60),
        0,
        "0100000000000c000a001e07ff00020000003cce",
    ),
    "connection_tune_ok": (
        spec.TuneOk(channel_max=2047, frame_max=131072, heartbeat=60),
        0,
        "0100000000000c000a001f07ff00020000003cce",
    ),
    "connection_open": (
        spec.Open(vhost="/", capabilities="", insist=False),
        0,
        "01000000000008000a0028012f0000ce",
    ),
    "connection_open_ok": (
        spec.OpenOk(known_hosts=""),
        0,
        "01000000000005000a002900ce",
    ),
    "connection_close": (
        spec.Close(reply_code=320, reply_text="CONNECTION_FORCED - bye", class_id=10, method_id=40),
        0,
        "01000000000022000a0032014017434f4e4e454354494f4e5f464f52434544202d20627965000a0028ce",
    ),
    "connection_close_ok": (
        spec.CloseOk(),
        0,
        "01000000000004000a0033ce",
    ),
    "connection_blocked": (
        spec.Blocked(reason="low on disk"),
        0,
        "01000000000010000a003c0b6c6f77206f6e206469736bce",
    ),
    "connection_unblocked": (
        spec.Unblocked(),
        0,
        "01000000000004000a003dce",
    ),
    "connection_update_secret": (
        spec.UpdateSecret(new_secret=b"token", reason="expiry"),
        0,
        "01000000000014000a004600000005746f6b656e06657870697279ce",
    ),
    "channel_open": (
        spec.ChannelOpen(out_of_band=""),
        1,
        "010001000000050014000a00ce",
    ),
    "channel_open_ok": (
        spec.ChannelOpenOk(channel_id=b""),
        1,
        "010001000000080014000b00000000ce",
    ),
    "channel_flow": (
        spec.ChannelFlow(active=True),
        1,
        "010001000000050014001401ce",
    ),
    "channel_close": (
        spec.ChannelClose(reply_code=404, reply_text="NOT_FOUND", class_id=50, method_id=10),
        1,
        "01000100000014001400280194094e4f545f464f554e440032000ace",
    ),
    "channel_close_ok": (
        spec.ChannelCloseOk(),
        1,
        "0100010000000400140029ce",
    ),
    "exchange_declare": (
        spec.ExchangeDeclare(
            ticket=0,
            exchange="logs",
            type="fanout",
            passive=False,
            durable=True,
            auto_delete=False,
            internal=False,
            no_wait=False,
            arguments={"x": "y", "n": Int32(5)},
        ),
        1,
        "010001000000260028000a0000046c6f67730666616e6f7574020000000f0178530000000179016e4900000005ce",
    ),
    "exchange_declare_ok": (
        spec.ExchangeDeclareOk(),
        1,
        "010001000000040028000bce",
    ),
    "exchange_delete": (
        spec.ExchangeDelete(ticket=0, exchange="logs", if_unused=True, no_wait=False),
        1,
        "0100010000000c002800140000046c6f677301ce",
    ),
    "exchange_bind": (
        spec.ExchangeBind(
            ticket=0,
            destination="to",
            source="from",
            routing_key="key",
            no_wait=False,
            arguments={"x": "y", "n": Int32(5)},
        ),
        1,
        "010001000000260028001e000002746f0466726f6d036b6579000000000f0178530000000179016e4900000005ce",
    ),
    "exchange_bind_ok": (
        spec.ExchangeBindOk(),
        1,
        "010001000000040028001fce",
    ),
    "exchange_unbind": (
        spec.ExchangeUnbind(
            ticket=0,
            destination="to",
            source="from",
            routing_key="key",
            no_wait=False,
            arguments={"x": "y", "n": Int32(5)},
        ),
        1,
        "0100010000002600280028000002746f0466726f6d036b6579000000000f0178530000000179016e4900000005ce",
    ),
    "exchange_unbind_ok": (
        spec.ExchangeUnbindOk(),
        1,
        "0100010000000400280033ce",
    ),
    "queue_declare": (
        spec.QueueDeclare(
            ticket=0,
            queue="tasks",
            passive=False,
            durable=True,
            exclusive=False,
            auto_delete=True,
            no_wait=False,
            arguments={"x": "y", "n": Int32(5)},
        ),
        1,
        "010001000000200032000a0000057461736b730a0000000f0178530000000179016e4900000005ce",
    ),
    "queue_declare_ok": (
        spec.QueueDeclareOk(queue="tasks", message_count=7, consumer_count=2),
        1,
        "010001000000120032000b057461736b730000000700000002ce",
    ),
    "queue_bind": (
        spec.QueueBind(
            ticket=0,
            queue="tasks",
            exchange="logs",
            routing_key="a.b",
            no_wait=True,
            arguments={"x": "y", "n": Int32(5)},
        ),
        1,
        "01000100000029003200140000057461736b73046c6f677303612e62010000000f0178530000000179016e4900000005ce",
    ),
    "queue_purge": (
        spec.QueuePurge(ticket=0, queue="tasks", no_wait=False),
        1,
        "0100010000000d0032001e0000057461736b7300ce",
    ),
    "queue_purge_ok": (
        spec.QueuePurgeOk(message_count=3),
        1,
        "010001000000080032001f00000003ce",
    ),
    "queue_delete": (
        spec.QueueDelete(ticket=0, queue="tasks", if_unused=True, if_empty=True, no_wait=False),
        1,
        "0100010000000d003200280000057461736b7303ce",
    ),
    "queue_delete_ok": (
        spec.QueueDeleteOk(message_count=9),
        1,
        "010001000000080032002900000009ce",
    ),
    "queue_unbind": (
        spec.QueueUnbind(
            ticket=0, queue="tasks", exchange="logs", routing_key="a.b", arguments={"x": "y", "n": Int32(5)}
        ),
        1,
        "01000100000028003200320000057461736b73046c6f677303612e620000000f0178530000000179016e4900000005ce",
    ),
    "queue_unbind_ok": (
        spec.QueueUnbindOk(),
        1,
        "0100010000000400320033ce",
    ),
    "basic_qos": (
        spec.BasicQos(prefetch_size=0, prefetch_count=100, global_=True),
        1,
        "0100010000000b003c000a00000000006401ce",
    ),
    "basic_qos_ok": (
        spec.BasicQosOk(),
        1,
        "01000100000004003c000bce",
    ),
    "basic_consume": (
        spec.BasicConsume(
            ticket=0,
            queue="tasks",
            consumer_tag="ctag",
            no_local=False,
            no_ack=True,
            exclusive=True,
            no_wait=False,
            arguments={"x": "y", "n": Int32(5)},
        ),
        1,
        "01000100000025003c00140000057461736b730463746167060000000f0178530000000179016e4900000005ce",
    ),
    "basic_consume_ok": (
        spec.BasicConsumeOk(consumer_tag="ctag"),
        1,
        "01000100000009003c00150463746167ce",
    ),
    "basic_cancel": (
        spec.BasicCancel(consumer_tag="ctag", no_wait=True),
        1,
        "0100010000000a003c001e046374616701ce",
    ),
    "basic_cancel_ok": (
        spec.BasicCancelOk(consumer_tag="ctag"),
        1,
        "01000100000009003c001f0463746167ce",
    ),
    "basic_get": (
        spec.BasicGet(ticket=0, queue="tasks", no_ack=True),
        1,
        "0100010000000d003c00460000057461736b7301ce",
    ),
    "basic_get_empty": (
        spec.BasicGetEmpty(cluster_id=""),
        1,
        "01000100000005003c004800ce",
    ),
    "basic_ack": (
        spec.BasicAck(delivery_tag=258, multiple=True),
        1,
        "0100010000000d003c0050000000000000010201ce",
    ),
    "basic_reject": (
        spec.BasicReject(delivery_tag=3, requeue=False),
        1,
        "0100010000000d003c005a000000000000000300ce",
    ),
    "basic_recover_async": (
        spec.BasicRecoverAsync(requeue=True),
        1,
        "01000100000005003c006401ce",
    ),
    "basic_recover": (
        spec.BasicRecover(requeue=True),
        1,
        "01000100000005003c006e01ce",
    ),
    "basic_recover_ok": (
        spec.BasicRecoverOk(),
        1,
        "01000100000004003c006fce",
    ),
    "basic_nack": (
        spec.BasicNack(delivery_tag=5, multiple=True, requeue=False),
        1,
        "0100010000000d003c0078000000000000000501ce",
    ),
    "confirm_select": (
        spec.ConfirmSelect(no_wait=False),
        1,
        "010001000000050055000a00ce",
    ),
    "confirm_select_ok": (
        spec.ConfirmSelectOk(),
        1,
        "010001000000040055000bce",
    ),
    "tx_select": (
        spec.TxSelect(),
        1,
        "01000100000004005a000ace",
    ),
    "tx_commit": (
        spec.TxCommit(),
        1,
        "01000100000004005a0014ce",
    ),
    "tx_rollback": (
        spec.TxRollback(),
        1,
        "01000100000004005a001ece",
    ),
}
"""Name -> method, channel, bytes in hex."""

CONTENTS: dict[str, tuple[spec.Method, bytes, bytes, str]] = {
    "basic_publish": (
        spec.BasicPublish(ticket=0, exchange="logs", routing_key="a.b", mandatory=True, immediate=False),
        bytes.fromhex(
            "b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d31000000006553f100"
        ),
        b"hello",
        "01000100000010003c00280000046c6f677303612e6201ce02000100000040003c00000000000000000005b9c00a7465"
        "78742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d31000000006553f100ce"
        "0300010000000568656c6c6fce",
    ),
    "basic_publish_without_body": (
        spec.BasicPublish(ticket=0, exchange="", routing_key="tasks", mandatory=False, immediate=False),
        bytes.fromhex("0000"),
        b"",
        "0100010000000e003c0028000000057461736b7300ce0200010000000e003c000000000000000000000000ce",
    ),
    "basic_return": (
        spec.BasicReturn(reply_code=312, reply_text="NO_ROUTE", exchange="logs", routing_key="a.b"),
        bytes.fromhex(
            "b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d31000000006553f100"
        ),
        b"hello",
        "01000100000018003c00320138084e4f5f524f555445046c6f677303612e62ce02000100000040003c00000000000000"
        "000005b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d3100"
        "0000006553f100ce0300010000000568656c6c6fce",
    ),
    "basic_deliver": (
        spec.BasicDeliver(
            consumer_tag="ctag", delivery_tag=1, redelivered=True, exchange="logs", routing_key="a.b"
        ),
        bytes.fromhex(
            "b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d31000000006553f100"
        ),
        b"hello",
        "0100010000001b003c003c0463746167000000000000000101046c6f677303612e62ce02000100000040003c00000000"
        "000000000005b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d"
        "2d31000000006553f100ce0300010000000568656c6c6fce",
    ),
    "basic_get_ok": (
        spec.BasicGetOk(
            delivery_tag=1, redelivered=True, exchange="logs", routing_key="a.b", message_count=4
        ),
        bytes.fromhex(
            "b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d31000000006553f100"
        ),
        b"hello",
        "0100010000001a003c0047000000000000000101046c6f677303612e6200000004ce02000100000040003c0000000000"
        "0000000005b9c00a746578742f706c61696e0000000f0178530000000179016e49000000050204053630303030036d2d"
        "31000000006553f100ce0300010000000568656c6c6fce",
    ),
}
"""Name -> method, property list, body, bytes in hex of all their frames on channel 1."""

FAULTS: dict[str, tuple[str, int, int]] = {
    "a frame that does not end in 0xCE": ("01000100000005001400280100", 501, 0),
    "a frame of an unknown type": ("04000100000000ce", 501, 0),
    "a frame over frame_max": ("03000100100000", 501, 0),
    "arguments that are cut off": ("01000100000005003c001400ce", 501, spec.BasicConsume.ID),
    "arguments with bytes too many": ("010001000000060055000a0000ce", 501, spec.ConfirmSelect.ID),
    "a short string that is not UTF-8": ("0100010000000a00320028000002fffe00ce", 501, spec.QueueDelete.ID),
    "a table that is longer than its frame": (
        "01000100000011003c0014000001710000000000ff000000ce",
        501,
        spec.BasicConsume.ID,
    ),
    "a method that does not exist": ("01000100000004003c00c7ce", 503, 60 << 16 | 199),
    "a method of the other side": ("01000100000004003c000bce", 503, spec.BasicQosOk.ID),
    "basic.deliver from a client": (
        "01000100000011003c003c01630000000000000001000000ce",
        503,
        spec.BasicDeliver.ID,
    ),
    "a channel's method on channel 0": ("0100000000000b003c000a00000000006400ce", 504, spec.BasicQos.ID),
    "a connection's method on a channel": ("01000100000004000a0033ce", 503, spec.CloseOk.ID),
    "a handshake method once it is over": ("0100000000000c000a001f07ff00020000003cce", 504, spec.TuneOk.ID),
    "a method on a channel that is not open": ("010002000000050055000a00ce", 504, spec.ConfirmSelect.ID),
    "a channel opened twice": ("010001000000050014000a00ce", 504, spec.ChannelOpen.ID),
    "a channel over channel_max": ("01ffff000000050014000a00ce", 530, spec.ChannelOpen.ID),
    "a content header without a method": ("0200010000000e003c000000000000000000050000ce", 505, 0),
    "a body without a method": ("0300010000000568656c6c6fce", 505, 0),
    "content on channel 0": ("0300000000000568656c6c6fce", 505, 0),
    "content on a channel that is not open": ("0300020000000568656c6c6fce", 505, 0),
    "a method where a content header is due": (
        "01000100000009003c00280000000000ce" + "010001000000050055000a00ce",
        505,
        spec.BasicPublish.ID,
    ),
    "a body where a content header is due": (
        "01000100000009003c00280000000000ce" + "0300010000000568656c6c6fce",
        505,
        spec.BasicPublish.ID,
    ),
    "a content header of another class": (
        "01000100000009003c00280000000000ce" + "0200010000000e0032000000000000000000050000ce",
        505,
        spec.BasicPublish.ID,
    ),
    "a content header that is too short": (
        "01000100000009003c00280000000000ce" + "0200010000000c003c00000000000000000005ce",
        501,
        spec.BasicPublish.ID,
    ),
    "a body that is longer than announced": (
        "01000100000009003c00280000000000ce"
        "0200010000000e003c000000000000000000040000ce"
        "0300010000000568656c6c6fce",
        501,
        spec.BasicPublish.ID,
    ),
    "properties that end too early": (
        "01000100000009003c00280000000000ce"
        "0200010000000e003c000000000000000000051000ce"
        "0300010000000568656c6c6fce",
        502,
        spec.BasicPublish.ID,
    ),
    "headers that are no table": (
        "01000100000009003c00280000000000ce"
        "02000100000017003c00000000000000000005200000000005016b5a0000ce"
        "0300010000000568656c6c6fce",
        502,
        spec.BasicPublish.ID,
    ),
    "basic.publish with immediate": ("01000100000009003c00280000000002ce", 540, spec.BasicPublish.ID),
    "a heartbeat on a channel": ("08000100000000ce", 505, 0),
    "a heartbeat with a payload": ("0800000000000100ce", 501, 0),
}
"""What ends a connection on which channel 1 is open: bytes in hex, reply code and failing
method (RabbitMQ's for the case)."""

CHANNEL_FAULTS: dict[str, tuple[str, int]] = {
    "a message over the largest size": (
        "01000100000009003c00280000000000ce" + "0200010000000e003c000000000001000000000000ce",
        406,
    ),
    "an expiration that is no number": (
        "01000100000009003c00280000000000ce"
        "02000100000013003c00000000000000000005010004736f6f6ece"
        "0300010000000568656c6c6fce",
        406,
    ),
    "a user_id that is not the user's": (
        "01000100000009003c00280000000000ce"
        "02000100000012003c00000000000000000005001003626f62ce"
        "0300010000000568656c6c6fce",
        406,
    ),
    "reply_to the pseudo queue without a consumer on it": (
        "01000100000009003c00280000000000ce"
        "02000100000024003c00000000000000000005020015616d712e7261626269746d712e7265706c792d746fce"
        "0300010000000568656c6c6fce",
        406,
    ),
}
"""What ends channel 1 and leaves the connection: bytes in hex, reply code."""
