"""The local server goes on, and answers others, whatever a client sends, or does not send."""

import asyncio
import json
import logging
import os
import re
import resource
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from serving_models import local_server, png, write_stand_in
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2

from keras_wsss.errors import ServingError
from keras_wsss.export.client import GrpcClient, RestClient
from keras_wsss.export.metadata import MAX_ROWS
from keras_wsss.export.serving import rest, rpc
from keras_wsss.export.serving.gate import Gate, RequestError
from keras_wsss.export.serving.model_store import ModelStore, find_models
from keras_wsss.export.serving.options import Options, connections_with_files
from keras_wsss.export.serving.servable import Servable
from keras_wsss.export.serving.waiting_room import WaitingRoom

PREDICT = "/tensorflow.serving.PredictionService/Predict"
LARGE = [("grpc.max_receive_message_length", -1)]
HEAD = "POST /v1/models/cats:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_stand_in(folder, 1)
    return folder


def connect(server, text="", **options):
    """A connection to the REST endpoint that has sent a text."""
    connection = socket.socket()
    for option, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
    connection.connect(("127.0.0.1", int(server.rest.rpartition(":")[2])))
    connection.sendall(text.encode())
    return connection


def is_open(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def seconds_until_closed(connection, dripping=b""):
    """How long a connection lives on which a byte is sent now and then."""
    started = time.monotonic()
    while is_open(connection) and time.monotonic() - started < 10:
        try:
            connection.setblocking(True)
            connection.sendall(dripping)
        except OSError:
            break
        time.sleep(0.05)
    return time.monotonic() - started


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def post(server, document, path="cats:predict"):
    body = document if isinstance(document, bytes | str) else json.dumps(document)
    answer = requests.post(f"{server.rest}/v1/models/{path}", data=body, timeout=60)
    return answer.status_code, answer.json()


def letters(text):
    return {"signature_name": "letters", "inputs": text}


def is_answered(server):
    return post(server, letters(["a"]))[0] == 200


def raw_method(server):
    """Predict as a stream of bytes: one may send nothing, or read nothing."""
    # Else gRPC's own buffers hold megabytes that nobody has read.
    small = ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 2**16)
    return grpc.insecure_channel(server.grpc, [*LARGE, *small]).stream_stream(PREDICT)


def nothing(never):
    """A message that does not come until then."""
    never.wait()
    yield b""


def predict_request(signature="letters", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "cats", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(
            value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
        )
    return request.SerializeToString()


def rpc_code(server, message):
    try:
        grpc.insecure_channel(server.grpc, LARGE).unary_unary(PREDICT)(message, timeout=30)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


# ---- the waiting room --------------------------------------------------------------------------


def in_a_loop(function):
    async def run():
        return await function()

    return asyncio.run(run())


def test_the_first_to_come_goes_first_where_places_are_few():
    cut = []
    clients = [lambda number=number: cut.append(number) for number in range(4)]

    async def fill():
        room = WaitingRoom(places=2, max_held=100)
        room.enter(clients[0], 60)
        room.enter(clients[1], 60)
        room.enter(clients[0], 60)  # begins another thing, so it is the last in line now
        room.enter(clients[2], 60)
        room.leave(clients[0])
        room.enter(clients[3], 60)

    in_a_loop(fill)
    assert cut == [1]


def test_the_first_to_come_goes_first_where_bytes_are_few():
    cut = []
    idle, first, second = (lambda name=name: cut.append(name) for name in ("idle", "1st", "2nd"))

    async def fill():
        room = WaitingRoom(places=9, max_held=100)
        room.enter(idle, 60)  # holds nothing, so nothing is won by it
        room.enter(first, 60, size=30)
        room.enter(second, 60, size=40)
        room.hold(first, 60)
        assert cut == []
        room.hold(second, 41)
        assert cut == ["1st"]
        room.hold(second, 100)
        room.hold(first, 100)  # it has gone
        room.leave(second)
        room.enter(first, 60, size=100)
        assert cut == ["1st"]
        room.enter(second, 60, size=101)  # would never fit

    in_a_loop(fill)
    assert cut == ["1st", "1st", "2nd"]


def test_a_block_that_waits_has_its_time_and_no_more():
    async def wait(seconds, patience):
        room = WaitingRoom(places=1, max_held=1)
        async with room.waiting(patience):
            await asyncio.sleep(seconds)

    in_a_loop(lambda: wait(0, 10))
    with pytest.raises(TimeoutError):
        in_a_loop(lambda: wait(10, 0.05))


def test_connections_leave_files_to_the_models(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert connections_with_files(1000) == 256 and connections_with_files(100) == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert connections_with_files(1000) == 1000


# ---- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "sent", "dripping"),
    [
        ("seconds_idle", "", b""),
        ("seconds_idle", "GET /v1/models/cats HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        ("seconds_head", "GET /v1/models/cats HTTP/1.1\r\nX: ", b"a"),
        ("seconds_body", HEAD.format(1000), b" "),
        ("seconds_body", HEAD.format(1000).replace("cats", "dogs"), b" "),  # answered long ago
    ],
)
def test_each_thing_has_its_time(models, limit, sent, dripping):
    with local_server(models, grace_seconds=1, **{limit: 1}) as server:
        connection = connect(server, sent)
        if "GET" in sent and limit == "seconds_idle":
            time.sleep(0.2)
            assert connection.recv(10**5).startswith(b"HTTP/1.1 200")
        assert 0.7 < seconds_until_closed(connection, dripping) < 3
        assert is_answered(server)


def test_an_answer_that_is_not_read_is_dropped(models):
    body = json.dumps(letters(["a" * 10_000_000]))
    with local_server(models, seconds_answer=1, grace_seconds=1) as server:
        for repeat in (1, 3):  # also where more requests have been sent at once
            sent = (HEAD.format(len(body)) + body) * repeat
            connection = connect(server, SO_RCVBUF=4096)
            threading.Thread(target=_send, args=(connection, sent.encode()), daemon=True).start()
            time.sleep(2.5)
            assert 0 < read_to_end(connection) < 2e7  # what the system holds is still there
        assert is_answered(server)


def test_answers_that_are_not_read_hold_no_more_than_their_bytes(models):
    large = predict_request(text=["a" * 3_000_000])  # an answer of 6 MB
    limits = {"max_held": 8_000_000, "seconds_connection": 3, "grace_seconds": 1}
    with local_server(models, **limits) as server:
        assert rpc_code(server, large) == ("OK", "")
        unread = raw_method(server)(iter([large]), timeout=60)
        wait_for(lambda: "not been read" in rpc_code(server, large)[1])
        assert rpc_code(server, predict_request(text=["a"])) == ("OK", "")
        wait_for(lambda: rpc_code(server, large) == ("OK", ""))
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            list(unread)


def _send(connection, contents):
    with suppress(OSError):
        connection.sendall(contents)


def read_to_end(connection):
    """Bytes until a connection is closed, in whatever way."""
    count = 0
    connection.settimeout(10)
    with suppress(ConnectionResetError):
        while data := connection.recv(10**6):
            count += len(data)
    return count


def test_a_whole_request_has_all_the_time_that_the_model_takes(models):
    short = {f"seconds_{what}": 0.3 for what in ("idle", "head", "body", "answer")}
    document = {"signature_name": "slow", "instances": [1.0]}
    with local_server(models, **short) as server:
        assert post(server, document) == (200, {"predictions": [1.0]})
        assert rpc_code(server, predict_request("slow", seconds=[1.0])) == ("OK", "")


# ---- places ------------------------------------------------------------------------------------


def test_idle_connections_keep_nobody_out(models, capfd):
    with local_server(models, max_connections=20) as server:
        idle = [connect(server, text) for text in ("", "GET / HTTP/1.1\r\n") for _ in range(40)]
        assert is_answered(server)
        assert sum(map(is_open, idle)) <= 20
        assert all(map(is_open, idle[-10:]))  # the first to come have gone
    assert "Error" not in capfd.readouterr().err


def test_slow_bodies_take_no_place_at_the_gate(models):
    with local_server(models, running=1, waiting=1, grace_seconds=1) as server:
        slow = [connect(server, HEAD.format(1000) + "{") for _ in range(10)]
        assert is_answered(server)
        assert all(map(is_open, slow))


def test_slow_bodies_hold_no_more_than_their_bytes(models):
    with local_server(models, max_held=2**20, grace_seconds=1) as server:
        slow = [connect(server, HEAD.format(2**20) + " " * 300_000) for _ in range(6)]
        time.sleep(0.5)
        assert sum(map(is_open, slow)) == 3
        assert is_answered(server)


def test_slow_messages_keep_nobody_out_of_grpc(models):
    never = threading.Event()
    with local_server(models, running=1, waiting=1, grace_seconds=1) as server:
        slow = [raw_method(server)(nothing(never)) for _ in range(10)]
        time.sleep(0.5)
        assert rpc_code(server, predict_request(text=["a"])) == ("OK", "")
        assert sum(call.is_active() for call in slow) <= 2
    never.set()


def test_clients_that_go_leave_no_traceback(models, caplog):
    with local_server(models, grace_seconds=1) as server:
        for _ in range(5):
            call = raw_method(server)(iter([predict_request("slow", seconds=[0.2])]))
            time.sleep(0.05)
            call.cancel()
            channel = grpc.insecure_channel(server.grpc)
            never = threading.Event()
            channel.stream_stream(PREDICT)(nothing(never))
            time.sleep(0.05)
            channel.close()
            never.set()
            connect(server, HEAD.format(100) + "{").close()
            connect(server, HEAD.format(2) + "{}").close()
        assert is_answered(server)
    # Loops of other tests may have ended too early for gRPC, which has one thread for all.
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(error) for error in errors if "Event loop is closed" not in str(error)] == []


def test_what_waits_at_the_gate_is_bounded_in_bytes():
    async def ask():
        gate, go = Gate(running=1, waiting=9, max_held=100), threading.Event()
        first = asyncio.create_task(gate.run(go.wait, size=60))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="too many"):
            await gate.run(int, size=41)
        second = asyncio.create_task(gate.run(int, size=40))
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, second)
        assert await gate.run(int, size=100) == 0

    in_a_loop(ask)


# ---- numbers -----------------------------------------------------------------------------------


def test_rows_of_a_request_are_bounded(models):
    says = "may have 1024 rows, not 60000; send several"
    with local_server(models) as server:
        started = time.monotonic()
        for document in ({"instances": [""] * 60_000}, {"inputs": {"image_bytes": [""] * 60_000}}):
            status, answer = post(server, document)
            assert status == 400 and says in answer["error"]
        code, details = rpc_code(
            server, predict_request("serving_default", image_bytes=[b""] * 60_000)
        )
        assert code == "INVALID_ARGUMENT" and says in details
        assert time.monotonic() - started < 5  # the model takes half a minute for them
        for client in (RestClient(server.rest, "cats"), GrpcClient(server.grpc, "cats")):
            answers = client.segment([b""] * (MAX_ROWS + 1))
            assert [answer.status for answer in answers] == ["empty"] * (MAX_ROWS + 1)


def test_nothing_is_decoded_of_too_many_rows(monkeypatch):
    monkeypatch.setattr(rest.parse_inputs.__globals__["base64"], "b64decode", None)
    monkeypatch.setattr(tf, "make_ndarray", None)
    document = {"instances": [{"b64": "AAAA"}] * 3}
    with pytest.raises(RequestError, match="may have 2 rows"):
        rest.parse_inputs(document, {"x": tf.TensorSpec([None], tf.string)}, max_rows=2)
    predictions = fake_predictions(max_rows=2)
    with pytest.raises(RequestError, match="may have 2 rows"):
        predictions._predict(predict_request("echo", text=[b"a"] * 3))


def test_answers_are_bounded(models):
    with local_server(models, max_answer=10_000) as server:
        assert post(server, letters(["a" * 3000]))[0] == 200
        status, answer = post(server, letters(["a" * 6000]))
        assert status == 400 and "--max-answer-mb" in answer["error"]
        assert rpc_code(server, predict_request(text=["a" * 4000]))[0] == "OK"
        code, details = rpc_code(server, predict_request(text=["a" * 6000]))
        assert code == "INVALID_ARGUMENT" and "--max-answer-mb" in details


# ---- the folder --------------------------------------------------------------------------------


@pytest.fixture
def own_models(models, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def test_numbers_beyond_int64_are_ignored_once(own_models, caplog):
    for number in (2**63, 10**30):
        shutil.copytree(own_models / "cats" / "1", own_models / "cats" / str(number))
    store = find_models(own_models)
    store.poll()
    assert store.find("cats").version == 1
    assert len(re.findall(r"is ignored, versions end at 9223372036854775807", caplog.text)) == 2
    os.rename(own_models / "cats" / str(2**63), own_models / "cats" / str(2**63 - 1))
    store.poll()
    assert store.find("cats").version == 2**63 - 1
    assert store.status("cats", 2**63 - 1).model_version_status[0].version == 2**63 - 1


@pytest.mark.parametrize("file", ["saved_model.pb", "SHA256SUMS", "variables/variables.index"])
def test_pipes_are_not_opened(own_models, file):
    shutil.copytree(own_models / "cats" / "1", own_models / "cats" / "2")
    path = own_models / "cats" / "2" / file
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    store = find_models(own_models)  # would wait for ever
    assert store.find("cats").version == 1
    assert any(f"{path.name}: is neither a file" in failure for failure in store.failures())
    shutil.copytree(own_models / "cats" / "1", own_models / "cats" / "3")
    store.poll()
    assert store.find("cats").version == 3


def test_polling_goes_on_whatever_happens(own_models, caplog, monkeypatch):
    times = []

    def fail(*arguments):
        times.append(1)
        raise ZeroDivisionError("by 0")

    with local_server(own_models) as server, caplog.at_level(logging.ERROR):
        for method in ("_update", "_models"):
            times.clear()
            with monkeypatch.context() as patch:
                patch.setattr(ModelStore, method, fail)
                wait_for(lambda: len(times) >= 3)
        shutil.copytree(own_models / "cats" / "1", own_models / "cats" / "2.partial")
        os.rename(own_models / "cats" / "2.partial", own_models / "cats" / "2")
        wait_for(lambda: post(server, letters(["a"]), "cats/versions/2:predict")[0] == 200)
    assert caplog.text.count("by 0") == 2


def test_a_folder_that_is_taken_away_is_told_once(own_models, caplog):
    store = find_models(own_models)
    shutil.rmtree(own_models)
    for _ in range(3):
        store.keep_polling()
    assert caplog.text.count("cannot be read") == 1 and store.names() == ["cats"]
    with pytest.raises(ServingError):
        find_models(own_models)


# ---- errors ------------------------------------------------------------------------------------


def test_addresses_without_a_traceback(models, capfd):
    with local_server(models) as server:
        many = "9" * 5000
        for version, says in ((many, "Failed to convert version"), (2**63, "Failed to convert")):
            for path in (f"cats/versions/{version}", f"cats/versions/{version}:predict"):
                status, answer = post(server, "{}", path)
                assert status == 400
            url = f"{server.rest}/v1/models/cats/versions/{version}"
            answer = requests.get(url, timeout=30)
            assert answer.status_code == 400 and says in answer.json()["error"]
        assert requests.get(url.replace(str(2**63), str(2**63 - 1)), timeout=30).status_code == 404
        connection = connect(server, "GET /v1/models/cats HTTP/1.1\r\nHost: [\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection = connect(server, "nonsense\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    assert capfd.readouterr().err.count("Traceback") == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": 4, "int_val": [300]},
        {"dtype": 4, "int_val": [-1]},
        {"dtype": 20, "int_val": [1]},
        {"dtype": 21},
        {"dtype": 999},
        {"dtype": 7, "tensor_content": b"a"},
        {"dtype": 1, "tensor_content": b"a"},
    ],
)
def test_tensors_that_nobody_can_read(models, fields):
    tensor = TensorProto(**fields)
    tensor.tensor_shape.dim.add().size = 1
    with pytest.raises(RequestError) as refusal:
        fake_predictions()._predict(predict_request("echo", images=tensor))
    assert refusal.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_messages_that_nobody_can_read(models):
    with local_server(models) as server:
        assert rpc_code(server, b"\xff" * 100)[0] == "INVALID_ARGUMENT"
        assert rpc_code(server, b"")[0] == "INVALID_ARGUMENT"
        with pytest.raises(grpc.RpcError, match="no message"):
            list(raw_method(server)(iter([])))
        status = grpc.insecure_channel(server.grpc).unary_unary(
            "/tensorflow.serving.ModelService/GetModelStatus"
        )
        with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
            status(b"\xff", timeout=30)
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            grpc.insecure_channel(server.grpc).unary_unary(PREDICT.replace("Pred", "Regr"))(b"")


# ---- mutated requests --------------------------------------------------------------------------


class Echo:
    """A signature that answers what it is asked, without a network."""

    def __init__(self, **specs):
        self.structured_input_signature = ((), specs)
        self.structured_outputs = specs

    def __call__(self, **tensors):
        return tensors


class FakeServable(Servable):
    """Checks its inputs as others do; nothing is loaded."""

    def __init__(self):
        self.name, self.version = "cats", 1
        self._signatures = {
            "echo": Echo(
                images=tf.TensorSpec([None, None, None, 3], tf.uint8),
            ),
            "serving_default": Echo(image_bytes=tf.TensorSpec([None], tf.string)),
            "two": Echo(a=tf.TensorSpec([None], tf.float32), b=tf.TensorSpec([None, 2], tf.int32)),
        }


class FakeStore:
    def find(self, name, version):
        return FakeServable()


def fake_predictions(**limits):
    return rpc.Predictions(FakeStore(), None, Options(Path(), **limits))


def good_documents():
    image = np.arange(2 * 3 * 3).reshape(1, 2, 3, 3).tolist()
    return [
        {"instances": [{"b64": "AAAA"}, {"b64": ""}]},
        {"instances": [{"image_bytes": {"b64": "iVBORw0="}}]},
        {"inputs": ["a", "b"], "signature_name": "serving_default"},
        {"inputs": image, "signature_name": "echo"},
        {"inputs": {"a": [1.5, 2], "b": [[1, 2], [3, 4]]}, "signature_name": "two"},
        {"instances": [{"a": 1, "b": [1, 2]}], "signature_name": "two"},
    ]


def good_messages():
    request = predict_request("two", a=[1.0, 2.0], b=[[1, 2], [3, 4]])
    filled = TensorProto(dtype=4, int_val=[7])
    for size in (1, 2, 3, 3):
        filled.tensor_shape.dim.add().size = size
    return [
        request,
        predict_request("serving_default", image_bytes=[png()[1], b""]),
        predict_request("echo", images=np.zeros([1, 2, 3, 3], np.uint8)),
        predict_request("echo", images=filled),
    ]


ODD = [None, True, -1, 2**31, 2**63, 10**400, 0.5, float("nan"), "", "\ud800", "é", [], [[]], {}]
ODD += [{"b64": 1}, {"b64": "="}, {"b64": "AAAA", "x": 1}, [1, [2]], ["a", 1], [None] * 3, {"": 0}]


def mutated_document(value, generator):
    """A part of a document is another value."""
    if generator.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return ODD[generator.integers(len(ODD))]
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[generator.integers(len(keys))]
    copy = dict(value) if isinstance(value, dict) else list(value)
    if isinstance(copy, list) and generator.random() < 0.1:
        return copy * int(generator.integers(0, 50))
    if isinstance(copy, dict) and generator.random() < 0.2:
        copy["xab"[generator.integers(3)]] = copy.pop(key)
    else:
        copy[key] = mutated_document(copy[key], generator)
    return copy


def mutated_bytes(data, generator):
    """Some bytes are others, are gone, or come twice."""
    data = bytearray(data)
    for _ in range(generator.integers(1, 4)):
        start, end = sorted(generator.integers(0, len(data) + 1, 2).tolist())
        end = min(end, start + 8)
        new = [generator.bytes(end - start), b"", bytes(data[start:end]) * 2, b"\xff"]
        data[start:end] = new[generator.integers(len(new))]
    return bytes(data)


def outcome(answer, *arguments):
    """What becomes of a request: an error of any other kind than these two ends the test."""
    try:
        answer(*arguments)
    except RequestError as refusal:
        return refusal.code.name
    return "OK"


def test_mutated_requests_have_an_answer_or_a_refusal():
    generator, servable = np.random.default_rng(0), FakeServable()
    options, predictions = Options(Path(), max_body=2**16), fake_predictions(max_body=2**16)
    documents, messages = good_documents(), good_messages()
    counts = {}
    for number in range(3000):
        document = mutated_document(documents[number % len(documents)], generator)
        body = json.dumps(document).encode()
        if number % 3 == 0:
            body = mutated_bytes(json.dumps(documents[number % len(documents)]).encode(), generator)
        code = outcome(rest._answer, servable, body, options)
        counts["rest", code] = counts.get(("rest", code), 0) + 1
        message = mutated_bytes(messages[number % len(messages)], generator)
        code = outcome(predictions._predict, message)
        counts["grpc", code] = counts.get(("grpc", code), 0) + 1
    for endpoint in ("rest", "grpc"):
        assert counts[endpoint, "OK"] > 50 and counts[endpoint, "INVALID_ARGUMENT"] > 500
    assert {code for _, code in counts} <= {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION"}
