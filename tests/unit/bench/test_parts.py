"""The shares of a profile are those of threads that work, by the part that they work for."""

from tests.bench.parts import by_function, by_part, parse

BASE = "thread (1): MainThread;run (edge/cli/run.py:42);Runner.run (asyncio/runners.py:118)"
RECEIVED = f"{BASE};uv__read (stream.c);WireProtocol.data_received (edge/net/protocol.py:156)"
COMMIT = "thread (2): Thread-1;GroupConnection.commit (edge/store/group.py:97)"


def test_a_function_of_c_counts_with_the_python_function_that_called_it() -> None:
    stacks = parse(
        f"{RECEIVED};read_publishes (edge/amqp091/inbound.py:63);Struct_vectorcall (msgspec/_core.so) 3\n"
        f"{RECEIVED};Queue.append (edge/core/queue.py:72) 1\n"
    )
    assert by_part(stacks) == {"decode": 0.75, "queue": 0.25}
    assert by_function(stacks) == {
        "read_publishes (edge/amqp091/inbound.py)": 0.75,
        "Queue.append (edge/core/queue.py)": 0.25,
    }


def test_the_socket_and_sqlite_are_parts_of_their_own() -> None:
    stacks = parse(
        f"{RECEIVED};WireProtocol._flush (edge/net/protocol.py:99);UVStream_write (loop.c);write (libc.so.6) 1\n"
        f"{COMMIT};sqlite3_step (libsqlite3.so.0.8.6);pwrite64 (libc.so.6) 1\n"
        f"{COMMIT};encode_batches (edge/store/group.py:184) 2\n"
    )
    assert by_part(stacks) == {"store": 0.5, "socket": 0.25, "SQLite": 0.25}


def test_who_waits_does_not_count() -> None:
    stacks = parse(
        f"{BASE};uv__io_poll (linux.c);epoll_pwait (libc.so.6) 5\n"
        f"{COMMIT};sqlite3WalFrames (libsqlite3.so.0.8.6);fdatasync (libc.so.6) 5\n"
        "thread (3): Thread-2;_connection_worker_thread (aiosqlite/core.py:59);"
        "PyThread_acquire_lock_timed (libpython3.11.so.1.0);0x7f1e278aed90 (libc.so.6);0x7f1e278a3f16 (libc.so.6) 5\n"
        f"{RECEIVED};bytes_join (libpython3.11.so.1.0);0x7f1e2798bb75 (libc.so.6) 1\n"
    )
    assert by_part(stacks) == {"connection": 1.0}


def test_what_mypyc_has_compiled_counts_as_the_function_it_was() -> None:
    stacks = parse(
        f"{RECEIVED};Connection.receive (mqtt/connection.py:80);"
        "CPyPy_codec___Decoder___feed (leveret__mypyc.cpython-311-x86_64-linux-gnu.so);"
        "CPyDef_codec___Decoder____runs (leveret__mypyc.cpython-311-x86_64-linux-gnu.so) 1\n"
        "thread (1): MainThread;CPyDef_encode___encode_acks (leveret__mypyc.so);CPyBytes_Concat (leveret__mypyc.so) 1\n"
    )
    assert by_function(stacks) == {
        "Decoder._runs (mqtt/codec.py)": 0.5,
        "encode_acks (mqtt/encode.py)": 0.5,
    }
    assert by_part(stacks) == {"decode": 0.5, "encode": 0.5}
