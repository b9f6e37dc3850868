"""The local server answers as TF Serving's documents say; the clients take what it answers."""

import base64
import gc
import http.client
import http.server
import io
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image
from serving_models import (
    CLASSES,
    expected_mask,
    local_server,
    png,
    read_mask,
    write_stand_in,
)
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from benchmarks import serving as serving_benchmark
from keras_wsss.__main__ import main
from keras_wsss.checksums import write_sums
from keras_wsss.errors import DataError, ServingError
from keras_wsss.export.client import GrpcClient, RestClient
from keras_wsss.export.serving.json_tensors import parse_inputs
from keras_wsss.export.serving.model_store import ModelStore, find_models
from keras_wsss.export.serving.servable import Servable

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_stand_in(folder, 1)
    return folder


@pytest.fixture(scope="module")
def server(models):
    with local_server(models, max_body=2**20) as endpoints:
        yield endpoints


@pytest.fixture
def own_models(models, tmp_path):
    """A copy that a test may change."""
    # A server collects garbage when a version goes; that of all tests before takes it long.
    gc.collect()
    return Path(shutil.copytree(models, tmp_path / "models"))


def post(server, document, path="cats:predict"):
    data = document if isinstance(document, str | bytes) else json.dumps(document)
    answer = requests.post(f"{server.rest}/v1/models/{path}", data=data, timeout=60)
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()


def get(server, path):
    answer = requests.get(f"{server.rest}{path}", timeout=60)
    return answer.status_code, answer.json()


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


def stub(server):
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.grpc))


def predict_request(signature="", model="cats", version=None, outputs=(), **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    request.output_filter.extend(outputs)
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


# ---- REST: predict -----------------------------------------------------------------------------


def test_rows_of_one_input_need_no_name(server):
    image, contents = png()
    for row in (b64(contents), {"image_bytes": b64(contents)}):
        status, answer = post(server, {"instances": [row, row]})
        assert status == 200 and list(answer) == ["predictions"]
        first, second = answer["predictions"]
        assert first == second
        assert first["status"] == "ok" and first["class_names"] == ["dog", "cat"]
        assert first["class_ids"] == [2, 1] and first["class_scores"] == [0.75, 0.25]
        mask = read_mask(base64.b64decode(first["mask_png_bytes"]["b64"]))
        np.testing.assert_array_equal(mask, expected_mask(image))


def test_columns(server):
    image, contents = png()
    for column in ([b64(contents)], {"image_bytes": [b64(contents)]}):
        status, answer = post(server, {"inputs": column})
        assert status == 200 and list(answer) == ["outputs"]
        assert answer["outputs"]["status"] == ["ok"]
        assert list(answer["outputs"]["mask_png_bytes"][0]) == ["b64"]


def test_a_single_output_is_not_named(server):
    image, _ = png()
    for key, answer_key in (("instances", "predictions"), ("inputs", "outputs")):
        document = {"signature_name": "predict_tensor", key: image[None].tolist()}
        status, answer = post(server, document)
        assert (status, list(answer)) == (200, [answer_key])
        np.testing.assert_array_equal(answer[answer_key], expected_mask(image)[None])


def test_several_inputs_are_named(server):
    rows = {"signature_name": "arithmetic", "instances": [{"a": 1.5, "b": 2}, {"a": 3, "b": -4}]}
    columns = {"signature_name": "arithmetic", "inputs": {"a": [1.5, 3], "b": [2, -4]}}
    assert post(server, rows)[1] == {
        "predictions": [{"quotient": 0.75, "sum": 3.5}, {"quotient": -0.75, "sum": -1.0}]
    }
    assert post(server, columns)[1] == {"outputs": {"quotient": [0.75, -0.75], "sum": [3.5, -1.0]}}


def test_strings_infinity_and_version(server):
    document = {"signature_name": "letters", "inputs": ["a", "ü", b64(b"c")]}
    status, answer = post(server, document, "cats/versions/1:predict")
    assert status == 200
    raw = [b64(text.encode()) for text in ("a", "ü", "c")]
    assert answer["outputs"] == {"text": ["A", "ü", "C"], "number": 3, "raw_bytes": raw}
    document = {"signature_name": "arithmetic", "inputs": {"a": [1, 0], "b": [0, 0]}}
    quotient = post(server, document)[1]["outputs"]["quotient"]
    assert quotient[0] == float("inf") and np.isnan(quotient[1])


@pytest.mark.parametrize(
    ("document", "status", "says"),
    [
        ("{", 400, "JSON Parse error"),
        ("", 400, "JSON Parse error"),
        (b"\xff\xfe{}", 400, "JSON Parse error"),
        ("[" * 100000, 400, "JSON Parse error"),
        ([1], 400, "not an object"),
        ({}, 400, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [], "instances": []}, 400, "only one of"),
        ({"instances": []}, 400, "at least one"),
        ({"instances": 3}, 400, "must be a list"),
        ({"signature_name": 3, "inputs": []}, 400, "must be a string"),
        ({"signature_name": "no", "inputs": []}, 400, '"no" not found in signature def'),
        ({"instances": [{"image": "a"}]}, 400, "Missing named input: image_bytes"),
        ({"inputs": {"image_bytes": ["a"], "b": 1}}, 400, "no input b"),
        ({"instances": [{"b64": "?"}]}, 400, "image_bytes"),
        ({"instances": [{"b64": 3}]}, 400, "image_bytes"),
        ({"instances": [1]}, 400, "not of expected type string"),
        ({"instances": ["\ud800"]}, 400, "not of expected type string"),
        ({"instances": [["a", "b"]]}, 400, "must have the shape"),
        ({"instances": [["a"], ["a", "b"]]}, 400, "lists of different lengths"),
        ('{"instances": ' + "[" * 700 + '"a"' + "]" * 700 + "}", 400, "image_bytes"),
        ({"instances": ["a", {"image_bytes": "a"}]}, 400, "not of expected type"),
        ({"instances": [{"image_bytes": "a"}, "a"]}, 400, "Failed to process element: 1"),
        ({"signature_name": "arithmetic", "inputs": [1]}, 400, "expecting an object"),
        ({"signature_name": "arithmetic", "instances": [1]}, 400, "expecting list of objects"),
        ({"signature_name": "arithmetic", "inputs": {"a": [1]}}, 400, "Missing named input: b"),
        ({"signature_name": "arithmetic", "inputs": {"a": [1], "b": [1.5]}}, 400, "int32"),
        ({"signature_name": "arithmetic", "inputs": {"a": [1], "b": [2**40]}}, 400, "int32"),
        ({"signature_name": "arithmetic", "inputs": {"a": [True], "b": [1]}}, 400, "float32"),
        ({"signature_name": "arithmetic", "inputs": {"a": [[1], [1, 2]], "b": [1]}}, 400, "float"),
        ({"signature_name": "predict_tensor", "inputs": [[[[0, 1, 256]]]]}, 400, "uint8"),
        ({"signature_name": "predict_tensor", "inputs": [[[[0, 1]]]]}, 400, "must have the shape"),
        ({"signature_name": "letters", "instances": ["a", "b"]}, 400, "inconsistent batch"),
        ({"signature_name": "positive", "inputs": [-1.0]}, 400, "assertion failed"),
    ],
)
def test_bad_documents(server, document, status, says):
    code, answer = post(server, document)
    assert code == status and list(answer) == ["error"] and says in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("POST", "/v1/models/dogs:predict", 404, "Servable not found for request: Latest(dogs)"),
        ("POST", "/v1/models/cats/versions/7:predict", 404, "Specific(cats, 7)"),
        ("POST", "/v1/models/cats/labels/new:predict", 400, "label: new"),
        ("POST", "/v1/models/cats:classify", 501, ":predict only"),
        ("POST", "/v1/models/cats", 400, "Malformed request: POST /v1/models/cats"),
        ("GET", "/v1/models/cats:predict", 400, "Malformed request: GET"),
        ("GET", "/v1/models/dogs", 404, "Could not find any versions of model dogs"),
        ("GET", "/v1/models/cats/versions/7", 404, "Could not find version 7 of model cats"),
        ("GET", "/v1/models/dogs/metadata", 404, "Servable not found"),
        ("GET", "/v1/models", 400, "Malformed request"),
    ],
)
def test_bad_addresses(server, method, path, status, says):
    answer = requests.request(method, server.rest + path, data="{}", timeout=60)
    assert answer.status_code == status and says in answer.json()["error"]


def test_too_large_a_body(server):
    for data in (b" " * (2**20 + 1), (b" " * 2**18 for _ in range(6))):  # with length, in chunks
        url = f"{server.rest}/v1/models/cats:predict"
        answer = requests.post(url, data=data, timeout=60)
        assert answer.status_code == 413 and "1048576 bytes" in answer.json()["error"]
    with pytest.raises(grpc.RpcError) as failure:
        stub(server).Predict(predict_request(image_bytes=[b" " * 2**20]))
    assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


# ---- REST and gRPC: what a model is ------------------------------------------------------------


def test_status(server):
    expected = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("/v1/models/cats", "/v1/models/cats/versions/1"):
        assert get(server, path) == (200, {"model_version_status": [expected]})
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "cats"
    service = model_service_pb2_grpc.ModelServiceStub(grpc.insecure_channel(server.grpc))
    (status,) = service.GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (1, status.AVAILABLE)
    request.model_spec.name = "dogs"
    with pytest.raises(grpc.RpcError, match="Could not find any versions of model dogs"):
        service.GetModelStatus(request)


def test_metadata(server):
    status, answer = get(server, "/v1/models/cats/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "cats", "signature_name": "", "version": "1"}
    definition = answer["metadata"]["signature_def"]["signature_def"]["predict_tensor"]
    images = definition["inputs"]["images"]
    assert images["dtype"] == "DT_UINT8" and images["tensor_shape"]["unknown_rank"] is False
    assert [size["size"] for size in images["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "cats"
    response = stub(server).GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 1
    assert "arithmetic" in signatures.signature_def
    request.metadata_field[:] = ["other"]
    with pytest.raises(grpc.RpcError) as failure:
        stub(server).GetModelMetadata(request)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT


# ---- gRPC: predict -----------------------------------------------------------------------------


def test_grpc_predict(server):
    image, contents = png()
    response = stub(server).Predict(predict_request(image_bytes=[contents, b""]))
    assert response.model_spec.signature_name == "serving_default"
    assert (response.model_spec.name, response.model_spec.version.value) == ("cats", 1)
    assert tf.make_ndarray(response.outputs["status"]).tolist() == [b"ok", b"empty"]
    mask = read_mask(tf.make_ndarray(response.outputs["mask_png_bytes"])[0])
    np.testing.assert_array_equal(mask, expected_mask(image))
    request = predict_request("predict_tensor", version=1, images=image[None])
    answer = tf.make_ndarray(stub(server).Predict(request).outputs["class_map"])
    np.testing.assert_array_equal(answer, expected_mask(image)[None])
    request = predict_request("arithmetic", outputs=["sum"], a=[1.0], b=[2])
    assert list(stub(server).Predict(request).outputs) == ["sum"]


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (predict_request(model=""), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_request(model="dogs"), "NOT_FOUND", r"Latest\(dogs\)"),
        (predict_request(version=7), "NOT_FOUND", r"Specific\(cats, 7\)"),
        (predict_request("no"), "FAILED_PRECONDITION", '"no" not found'),
        (predict_request(b=[1]), "INVALID_ARGUMENT", r"extra: {b}.*required: {image_bytes}"),
        (predict_request(image_bytes=[1]), "INVALID_ARGUMENT", "must be string, not int32"),
        (predict_request(image_bytes="a"), "INVALID_ARGUMENT", "must have the shape"),
        (predict_request(outputs=["no"], image_bytes=["a"]), "INVALID_ARGUMENT", "alias not"),
        (predict_request("positive", x=[-1.0]), "INVALID_ARGUMENT", "assertion failed"),
    ],
)
def test_bad_grpc_requests(server, request_, code, says):
    with pytest.raises(grpc.RpcError) as failure:
        stub(server).Predict(request_)
    assert failure.value.code().name == code
    assert re.search(says, failure.value.details())


def test_tensors_that_lie_about_their_size_take_no_memory(server):
    for sizes in ([10**6, 10**6], [-1], [2**62, 2**62]):
        request = predict_request("positive", x=[1.0])
        for size in sizes:
            request.inputs["x"].tensor_shape.dim.add().size = size
        with pytest.raises(grpc.RpcError, match="no tensor that can be read"):
            stub(server).Predict(request)
    for count, strings in ((2 * 10**9, []), (60, [b"once"]), (1, [b"one", b"another"])):
        request = predict_request(image_bytes=strings)
        request.inputs["image_bytes"].tensor_shape.dim[0].size = count
        with pytest.raises(grpc.RpcError, match="no tensor that can be read"):
            stub(server).Predict(request)


def test_one_long_string_does_not_make_all_long():
    """numpy's strings are all as long as the longest: here 2 GB."""
    images = [{"b64": "A" * 10_000_000}, *[{"b64": "AAAA"}] * 300]
    specs = {"image_bytes": tf.TensorSpec([None], tf.string)}
    tracemalloc.start()
    arrays, _ = parse_inputs({"instances": images}, specs, max_rows=1024)
    (_, peak), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
    assert arrays["image_bytes"].shape == (301,) and peak < 50_000_000


def test_an_error_of_the_server_itself_is_told(models, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr(Servable, "predict", fail)
    with local_server(models) as server:
        status, answer = post(server, {"instances": ["a"]})
        assert (status, answer) == (500, {"error": "ZeroDivisionError: by 0"})
        with pytest.raises(grpc.RpcError, match="by 0") as failure:
            stub(server).Predict(predict_request(image_bytes=["a"]))
        assert failure.value.code() == grpc.StatusCode.UNKNOWN
        for client in (RestClient(server.rest, "cats"), GrpcClient(server.grpc, "cats")):
            with pytest.raises(ServingError, match="by 0"):
                client.segment([b"a"])


# ---- bounded concurrency -----------------------------------------------------------------------


def slow(seconds):
    return {"signature_name": "slow", "instances": [seconds]}


def until(file):
    return {"signature_name": "until", "instances": [str(file)]}


def test_what_exceeds_the_queue_is_refused_at_both_doors(models, tmp_path):
    go = tmp_path / "go"
    with local_server(models, running=1, waiting=1) as server, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(post, server, until(go)) for _ in range(6)]
        wait_for(lambda: sum(future.done() for future in asked) == 4)
        with pytest.raises(grpc.RpcError) as failure:
            stub(server).Predict(predict_request("slow", seconds=[0.0]))
        assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        go.touch()
        answers = [future.result() for future in asked]
        assert sorted(status for status, _ in answers) == [200, 200, 429, 429, 429, 429]
        assert all("too many" in answer["error"] for code, answer in answers if code == 429)
        # Clients wait and ask again, also with what exceeds gRPC's own buffer for that (256 KiB).
        large = png(size=(400, 400))[1]
        assert len(large) > 2**18
        clients = RestClient(server.rest, "cats"), GrpcClient(server.grpc, "cats")
        busy = [threads.submit(post, server, slow(seconds)) for seconds in (0.7, 0.1)]
        time.sleep(0.2)
        asked = [threads.submit(client.segment, [large]) for client in clients]
        assert [future.result()[0].status for future in asked] == ["ok", "ok"]
        assert [future.result()[0] for future in busy] == [200, 200]
        assert post(server, slow(0.0))[0] == 200


def test_callers_that_have_gone_leave_no_place_taken(models):
    with local_server(models, running=1, waiting=1) as server:
        for _ in range(4):
            with pytest.raises(grpc.RpcError) as failure:
                stub(server).Predict(predict_request("slow", seconds=[0.3]), timeout=0.1)
            assert failure.value.code().name in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
        port = int(server.rest.rpartition(":")[2])
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                head = (
                    "POST /v1/models/cats:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
                )
                connection.sendall(head.encode() + b"{")
            time.sleep(0.05)
        wait_for(lambda: post(server, slow(0.0))[0] == 200)
        answers = [post(server, slow(0.0))[0] for _ in range(4)]
        assert answers == [200] * 4


def test_a_connection_outlasts_a_pause(server):
    # One second more than five, after which uvicorn by itself closes and a request may be lost.
    connection = http.client.HTTPConnection(server.rest.removeprefix("http://"))
    for pause in (0, 6):
        time.sleep(pause)
        connection.request("GET", "/v1/models/cats")
        assert connection.getresponse().read()
    connection.close()


# ---- versions ----------------------------------------------------------------------------------


def states(server, model="cats"):
    answer = get(server, f"/v1/models/{model}")[1]["model_version_status"]
    return {int(status["version"]): status["state"] for status in answer}


def test_new_version_takes_over_while_requests_run(own_models, tmp_path):
    go = tmp_path / "go"
    image, contents = png()
    version = write_stand_in(own_models.parent, 10)
    with local_server(own_models) as server, ThreadPoolExecutor(2) as threads:
        client = RestClient(server.rest, "cats")
        np.testing.assert_array_equal(client.segment([contents])[0].mask, expected_mask(image, 1))
        running = threads.submit(post, server, until(go), "cats/versions/1:predict")
        time.sleep(0.2)
        os.rename(version, own_models / "cats" / "10")
        wait_for(lambda: states(server).get(10) == "AVAILABLE")
        assert not running.done() and states(server)[1] == "UNLOADING"
        np.testing.assert_array_equal(client.segment([contents])[0].mask, expected_mask(image, 10))
        assert post(server, slow(0.0), "cats/versions/1:predict")[0] == 404
        go.touch()
        assert running.result()[0] == 200
        wait_for(lambda: states(server)[1] == "END")  # its memory is free
        # Taken away, the newest that is left serves again.
        shutil.rmtree(own_models / "cats" / "10")
        wait_for(lambda: states(server)[1] == "AVAILABLE")
        np.testing.assert_array_equal(client.segment([contents])[0].mask, expected_mask(image, 1))


def test_a_version_that_does_not_load_changes_nothing(own_models, caplog):
    image, contents = png()
    with local_server(own_models) as server, caplog.at_level(logging.ERROR):
        partial = own_models / "cats" / "2.partial"
        shutil.copytree(own_models / "cats" / "1", partial)
        (partial / "variables" / "variables.index").write_bytes(b"nonsense")
        os.rename(partial, own_models / "cats" / "2")
        wait_for(lambda: 2 in states(server) and states(server)[2] == "END")
        (status, _) = get(server, "/v1/models/cats")[1]["model_version_status"]
        assert status["status"]["error_code"] == "UNKNOWN" and status["status"]["error_message"]
        client = RestClient(server.rest, "cats")
        np.testing.assert_array_equal(client.segment([contents])[0].mask, expected_mask(image, 1))
        time.sleep(0.3)
        assert caplog.text.count("version 2 does not load") == 1  # not tried again and again
        # Put right, it is.
        shutil.copytree(own_models / "cats/1", own_models / "cats/2", dirs_exist_ok=True)
        wait_for(lambda: states(server)[2] == "AVAILABLE")


def test_a_folder_that_cannot_be_read_harms_no_other(own_models):
    shutil.copytree(own_models / "cats", own_models / "dogs")
    (own_models / "ants" / "1").mkdir(parents=True)
    (own_models / "ants" / "1" / "saved_model.pb").symlink_to("nowhere")
    with local_server(own_models) as server:
        assert requests.get(f"{server.rest}/v1/models/dogs", timeout=60).ok
        shutil.copytree(own_models / "cats" / "1", own_models / "dogs" / "2.partial")
        os.rename(own_models / "dogs" / "2.partial", own_models / "dogs" / "2")
        wait_for(lambda: states(server, "dogs").get(2) == "AVAILABLE")


def test_a_changed_byte_is_refused(own_models):
    folder = own_models / "cats" / "1"
    write_sums(folder)
    assert find_models(own_models).names() == ["cats"]
    data = folder / "variables" / "variables.data-00000-of-00001"
    good = data.read_bytes()
    data.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    with pytest.raises(ServingError, match=r"variables.data.*: was changed"):
        find_models(own_models)
    data.write_bytes(good)
    (folder / "saved_model.cpb").write_bytes(b"would be loaded instead")
    with pytest.raises(ServingError, match="saved_model.cpb: is not listed"):
        find_models(own_models)
    (folder / "saved_model.cpb").unlink()
    data.unlink()
    with pytest.raises(ServingError, match=r"variables.data.*: is missing"):
        find_models(own_models)


def test_warm_up_requests_are_run_before_a_version_serves(own_models):
    folder = own_models / "cats" / "1"
    (folder / "assets.extra").mkdir()
    path = str(folder / "assets.extra" / "tf_serving_warmup_requests")

    def write(request):
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(request)
        with tf.io.TFRecordWriter(path) as writer:
            writer.write(log.SerializeToString())

    write(predict_request(image_bytes=[png()[1]]))
    assert find_models(own_models).names() == ["cats"]
    write(predict_request("positive", x=[-1.0]))
    with pytest.raises(ServingError, match="assertion failed"):
        find_models(own_models)


def test_which_folders_are_versions(own_models):
    for name in ("01", "2.partial", "-3", "x", "²", "4_0"):
        shutil.copytree(own_models / "cats/1", own_models / "cats" / name)
    (own_models / "cats" / "7").write_text("a file")
    (own_models / "empty").mkdir()
    store = ModelStore(own_models)
    store.poll()
    assert store.names() == ["cats"] and store.find("cats").version == 1
    for name in ("9", "10"):
        shutil.copytree(own_models / "cats/1", own_models / "cats" / name)
    store.poll()
    assert store.find("cats").version == 10
    one = ModelStore(own_models / "cats")
    one.poll()
    assert one.names() == ["cats"]


def test_unloaded_versions_free_their_memory(models):
    import psutil

    def megabytes():
        return psutil.Process().memory_info().rss / 2**20

    def load():
        Servable("cats", 1, models / "cats" / "1").predict(
            "serving_default", {"image_bytes": np.array([png()[1]], object)}
        )

    for _ in range(5):
        load()
    before = megabytes()
    for _ in range(15):
        load()
    assert megabytes() - before < 60


# ---- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "no model here"),
        (lambda folder: (folder / "cats" / "1").mkdir(parents=True), "saved_model.pb"),
    ],
)
def test_nothing_to_serve_is_one_message(tmp_path, capsys, make, says):
    make(tmp_path / "models")
    with pytest.raises(SystemExit) as end:
        main(["serve", str(tmp_path / "models"), "--rest-port", "0"])
    assert end.value.code == 2
    output = capsys.readouterr().err
    assert output.count("error: ") == 1 and says in output and "Traceback" not in output


def test_what_can_be_served_is_named(tmp_path):
    """The folder of an export holds other formats as well; a version is no model."""
    for name in ("onnx", "saved_model/cats/1", "saved_model/cats/2", "saved_model/dogs/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "saved_model.pb").touch()
    cats, dogs = (tmp_path / "saved_model" / name for name in ("cats", "dogs"))
    with pytest.raises(ServingError, match=f"no model here; serve {cats} or {dogs}$"):
        find_models(tmp_path)
    with pytest.raises(ServingError, match=f"no model here; serve {cats}$"):
        find_models(cats / "2")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rest-port", "99999"),
        ("--grpc-port", "-1"),
        ("--max-waiting", "-9"),
        ("--poll-seconds", "0"),
    ],
)
def test_numbers_out_of_range_are_one_message(models, capsys, arguments):
    with pytest.raises(SystemExit) as end:
        main(["serve", str(models), *arguments])
    assert end.value.code == 2
    assert f"argument {arguments[0]}: {arguments[1]}: allowed: " in capsys.readouterr().err


def test_a_taken_port_is_one_message(models, server, capsys):
    for endpoint, address in (("--rest-port", server.rest), ("--grpc-port", server.grpc)):
        ports = ["--rest-port", "0", endpoint, address.rpartition(":")[2]]
        with pytest.raises(SystemExit):
            main(["serve", str(models), *ports])
        assert "choose another port" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "ask"])
def test_a_missing_extra_is_one_message(models, capsys, monkeypatch, tmp_path, command):
    photo = tmp_path / "photo.png"
    photo.write_bytes(png()[1])
    if command == "serve":
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        monkeypatch.delitem(sys.modules, "keras_wsss.export.serving.server", raising=False)
        arguments = ["serve", str(models)]
    else:
        monkeypatch.setitem(sys.modules, "requests", None)
        arguments = ["ask", str(photo), "--model", "cats"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "pip install 'keras_wsss[serving]'" in capsys.readouterr().err


def start_command(folder, *arguments):
    """The server as a process of its own; its addresses, read from what it prints."""
    command = [sys.executable, "-m", "keras_wsss", "serve", str(folder), "--rest-port", "0"]
    process = subprocess.Popen(
        [*command, "--grpc-port", "0", *arguments], stdout=subprocess.PIPE, text=True,
        cwd=REPOSITORY,
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line == "ready\n":
            break
    return process, lines


def test_requests_in_flight_are_answered_before_the_end(models):
    process, lines = start_command(models)
    assert "Production is TF Serving" in " ".join(lines)
    page = next(line.split()[1] for line in lines if line.startswith("page"))
    assert requests.get(page, timeout=30).headers["content-type"].startswith("text/html")
    url = next(line.split()[1] for line in lines if line.startswith("REST"))
    target = next(line.split()[1] for line in lines if line.startswith("gRPC"))
    with ThreadPoolExecutor(2) as threads:
        rest = threads.submit(requests.post, f"{url}:predict", json=slow(1.5), timeout=30)
        channel = grpc.insecure_channel(target)
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        rpc = threads.submit(service.Predict, predict_request("slow", seconds=[1.5]))
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)
        assert rest.result().json() == {"predictions": [1.5]}
        assert tf.make_ndarray(rpc.result().outputs["seconds"]) == [1.5]
    assert process.wait(timeout=20) == 0


def test_what_the_commands_import():
    code = (
        "import sys, keras_wsss.__main__, keras_wsss.export.client\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
        "from keras_wsss.export.client import RestClient\n"
        "RestClient('http://localhost', 'cats')\n"
        "assert 'tensorflow' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "import keras_wsss.export.serving.server\n"
        "assert not [name for name in sys.modules if name.startswith('keras_wsss.methods')]\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# ---- clients -----------------------------------------------------------------------------------


@pytest.fixture(params=["rest", "grpc"])
def make_client(request):
    def make(server, **more):
        kind, address = (
            (RestClient, server.rest) if request.param == "rest" else (GrpcClient, server.grpc)
        )
        return kind(address, **{"model": "cats", **more})

    return make


def test_segment(server, make_client, tmp_path):
    image, contents = png(seed=3, size=(17, 23))
    path = tmp_path / "image.png"
    path.write_bytes(contents)
    first, empty, again = make_client(server).segment([contents, b"", path])
    np.testing.assert_array_equal(first.mask, expected_mask(image))
    np.testing.assert_array_equal(again.mask, first.mask)
    assert first.mask.dtype == np.uint8
    assert first.legend == {1: "cat", 2: "dog"}
    assert list(first.scores.items()) == [("dog", 0.75), ("cat", 0.25)]
    shares = {name: np.mean(first.mask == CLASSES.index(name)) for name in CLASSES}
    assert first.coverage == pytest.approx({name: shares[name] for name in ("cat", "dog")})
    assert first.confidence == pytest.approx(shares["background"])
    assert first.found() == sorted(("cat", "dog"), key=lambda name: -shares[name])
    assert (first.status, first.message) == ("ok", "")
    assert (empty.mask, empty.status, empty.message) == (None, "empty", "no bytes")


def test_large_images_are_not_sent_and_many_are_sent_in_parts(server, make_client):
    image, contents = png()
    client = make_client(server, max_image=len(contents), max_request=2 * len(contents) + 1)
    asked = []
    ask, client._ask = client._ask, lambda images: asked.append(len(images)) or ask(images)
    answers = client.segment([contents] * 3 + [contents + b"\0"] + [contents] * 2)
    assert asked == [2, 2, 1]
    assert [answer.status for answer in answers] == ["ok"] * 3 + ["too_many_bytes"] + ["ok"] * 2
    assert "not sent" in answers[3].message
    assert client.segment([]) == []


@pytest.mark.parametrize("more", [{"model": "dogs"}, {"version": 7}])
def test_refusals_of_the_server_are_errors(server, make_client, more):
    with pytest.raises(ServingError, match="Servable not found"):
        make_client(server, **more).segment([png()[1]])


def test_no_server_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServingError, match="refused.*is the server running"):
        RestClient(f"http://127.0.0.1:{port}", "cats", tries=2).segment([b"x"])
    with pytest.raises(ServingError, match="UNAVAILABLE"):
        GrpcClient(f"127.0.0.1:{port}", "cats", tries=2).segment([b"x"])
    with pytest.raises(DataError, match="nowhere.jpg"):
        RestClient(f"http://127.0.0.1:{port}", "cats").segment(["nowhere.jpg"])


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_a_server_that_is_late_is_waited_for(kind, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = {
        "rest": lambda: RestClient(f"http://127.0.0.1:{port}", "cats"),
        "grpc": lambda: GrpcClient(f"127.0.0.1:{port}", "cats"),
    }[kind]()
    with pytest.raises(ServingError, match=rf"no server at .*{port} in 0.3 s \(.*; start it"):
        client.wait(0.3)
    started = []

    def start():
        if kind == "rest":
            server = http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            started.append(server.shutdown)
        else:
            server = grpc.server(ThreadPoolExecutor())
            server.add_insecure_port(f"127.0.0.1:{port}")
            server.start()
            started.append(lambda: server.stop(None))

    late = threading.Timer(1, start)
    late.start()
    with caplog.at_level(logging.INFO):
        client.wait(30)
    assert len(started) == 1
    assert [record.message for record in caplog.records if "waiting 30 s" in record.message]
    started.pop()()


@pytest.fixture
def liar():
    """A web server that answers what it is told; a list of (status, body), one an answer."""
    answers, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            asked.append(self.rfile.read(int(self.headers["content-length"])))
            status, body = answers.pop(0)
            if status is None:
                time.sleep(body)
                return
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}", answers, asked
    listener.shutdown()
    listener.server_close()


GOOD = {
    "mask_png_bytes": b64(png()[1]),
    "class_ids": [1],
    "class_names": ["cat"],
    "class_scores": [0.5],
    "coverage": [0.0, 1.0],
    "confidence": 1.0,
    "status": "empty",
    "message": "",
}


def test_busy_servers_are_asked_again(liar):
    url, answers, asked = liar
    answers += [(429, {"error": "busy"}), (503, b"starting"), (200, {"predictions": [GOOD]})]
    assert RestClient(url, "cats").segment([b"x"])[0].status == "empty"
    assert len(asked) == 3 and len(set(asked)) == 1
    answers += [(429, {"error": "busy"})] * 2
    with pytest.raises(ServingError, match="429: busy"):
        RestClient(url, "cats", tries=2).segment([b"x"])
    assert not answers
    answers += [(None, 0), (200, {"predictions": [GOOD]})]  # a connection that the server closes
    assert RestClient(url, "cats").segment([b"x"])[0].status == "empty"
    answers += [(400, {"error": "wrong"})]
    with pytest.raises(ServingError, match="400: wrong"):
        RestClient(url, "cats").segment([b"x"])
    asked.clear()
    answers += [(None, 0.6)] * 5
    with pytest.raises(ServingError, match="timed out"):
        RestClient(url, "cats", timeout=0.2).segment([b"x"])
    assert len(asked) == 1  # the server may still be at work on it


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        {"outputs": []},
        {"predictions": [GOOD, GOOD]},
        {"predictions": [3]},
        {"predictions": [{}]},
        {"predictions": [{**GOOD, "mask_png_bytes": {"b64": "?"}}]},
        {"predictions": [{**GOOD, "status": "ok", "mask_png_bytes": b64(b"nonsense")}]},
        {"predictions": [{**GOOD, "status": "ok"}]},  # a mask of three channels
        {"predictions": [{**GOOD, "status": "ok", "mask_png_bytes": b64(png()[1][:-40])}]},
        {"predictions": [{**GOOD, "class_ids": [1, 2]}]},
        {"predictions": [{**GOOD, "coverage": [1.0]}]},
        {"predictions": [{**GOOD, "confidence": "high"}]},
    ],
)
def test_nonsense_is_an_error(liar, body):
    url, answers, _ = liar
    answers.append((200, body))
    with pytest.raises(ServingError):
        RestClient(url, "cats").segment([b"x"])


def test_clients_say_which_version_answers(server):
    for kind, place in ((RestClient, server.rest), (GrpcClient, server.grpc)):
        assert kind(place, "cats").version() == 1
        with pytest.raises(ServingError, match="dogs"):
            kind(place, "dogs").version()


def test_asking_from_the_command_line(server, tmp_path, capsys):
    image, contents = png()
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    path = tmp_path / "photos" / "photo.png"
    path.write_bytes(contents)
    turned = Image.Exif()
    turned[274] = 6  # which nobody heeds in a PNG file
    Image.open(io.BytesIO(contents)).save(tmp_path / "photos" / "inner" / "turned.png", exif=turned)
    output = tmp_path / "answers"
    rest, rpc = ["--url", server.rest], ["--grpc", server.grpc]
    for endpoint in (rest, rpc):
        photos = str(tmp_path / "photos")
        main(["ask", photos, *endpoint, "--model", "cats", "-o", str(output)])
        printed = capsys.readouterr().out
        assert printed.count("cat ") == 2 and "confidence" in printed
        for name in ("photo", "inner/turned"):
            mask = np.asarray(Image.open(output / "masks" / f"{name}.png"))
            np.testing.assert_array_equal(mask, expected_mask(image))
            assert Image.open(output / "overlays" / f"{name}.jpg").width == 30
        shutil.rmtree(output)
    others = str(path.parent)
    with pytest.raises(SystemExit):
        main(["ask", str(path), *rest, "--model", "cats", "-o", others])
    assert "was not written by this command" in capsys.readouterr().err
    path.write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        main(["ask", str(path.parent), *rest, "--model", "cats", "-o", str(output), "--json"])
    assert end.value.code == 1
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["status"] == "ok" for row in rows) == [False, True]
    with pytest.raises(SystemExit) as end:
        main(["ask", str(tmp_path / "nowhere.jpg"), *rest, "--model", "cats"])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("error: ") == 1


# ---- load --------------------------------------------------------------------------------------


def test_load(tmp_path, capfd):
    """The short form of the benchmark; it ends with an error when anything is wrong."""
    output = tmp_path / "serving.json"
    serving_benchmark.main(["--requests", "200", "--images", "7", "--output", str(output)])
    report = json.loads(output.read_text())
    assert report["requests"] >= 200 and report["concurrent"] == 16
    assert min(report["bad_requests"].values()) >= 1
    assert sum(report["bad_requests"].values()) == report["requests"] // 20
    assert min(report["answers_by_version"].values()) > 10
    assert report["masks_compared"] > 150 and report["wrong_masks"] == 0
    assert report["pixels_that_differ_between_versions_percent"] > 50
    assert report["classes_in_masks"] == 7
    assert report["server_memory_mb"]["peak"] < 2000
    assert str(tmp_path) not in output.read_text()
