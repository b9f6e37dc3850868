"""What others notice of clients that keep the local server waiting; memory over many requests.

    python -m benchmarks.serving_hostile --output benchmarks/results/serving_hostile.json

The server is a process of its own with the usual limit of 1,024 open files; the network is that of
``benchmarks.serving``. While each kind of client is there, an honest one asks for a mask twice a
second.
"""

import argparse
import json
import resource
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.methods import circumstances
from benchmarks.serving import NAME, Server, good_images, percentiles, write_model
from keras_wsss.errors import ServingError
from keras_wsss.export.client import RestClient

FILES = 1024
GET = f"GET /v1/models/{NAME}/metadata HTTP/1.1\r\nHost: x\r\n\r\n"
POST = f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
# What a client sends before it does nothing more, and seconds that it is watched: some more than it
# has. Answers take work: a tenth of the clients ask for so many.
KINDS = {
    "nothing": ("", 1.0, 80),
    "half a head": (GET[:-4], 1.0, 30),
    "one byte of a body": (POST + "{", 1.0, 70),
    "2,000 questions, no answer read": (GET * 2000, 0.1, 70),
}


def besiege(server, image, sent, count, seconds):
    """So many clients at once; what an honest one notices meanwhile."""
    address = ("127.0.0.1", int(server.rest.rpartition(":")[2]))
    log = sum(map(len, server.errors))
    clients = []
    for _ in range(count):
        client = socket.create_connection(address)
        client.setblocking(False)
        clients.append(client)
        try:
            client.send(sent.encode())
        except OSError:  # it was closed for another one
            pass
    process = psutil.Process(server.process.pid)
    used, files = sum(process.cpu_times()[:2]), process.num_fds()
    outcomes, times, memory = Counter(), [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        try:
            (answer,) = RestClient(server.rest, NAME, tries=1).segment([image])
            outcomes[answer.status] += 1
        except ServingError as error:
            outcomes[str(error)[:80]] += 1
        times.append(time.perf_counter() - started)
        memory.append(server.memory[-1])
        time.sleep(0.5)
    result = {
        "clients": count,
        "connections_kept": files,
        "honest_requests": dict(outcomes),
        "latency_ms": percentiles(times),
        "still_open_at_the_end": sum(map(_is_open, clients)),
        "seconds": seconds,
        "cpu_share": round((sum(process.cpu_times()[:2]) - used) / seconds, 2),
        "memory_mb": round(max(memory)),
        "log_bytes": sum(map(len, server.errors)) - log,
    }
    for client in clients:
        client.close()
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def _is_open(client):
    try:
        while client.recv(10**6):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def memory_over(server, images, count):
    """Megabytes after so many requests, one image each, four at once."""
    client, steps = RestClient(server.rest, NAME), {}

    def ask(number):
        client.segment([images[number % len(images)]])

    done = 0
    with ThreadPoolExecutor(4) as threads:
        for share in (0, 0.01, 0.1, 0.25, 0.5, 0.75, 1):
            until = round(share * count)
            list(threads.map(ask, range(done, until)))
            done = until
            steps[str(done)] = round(server.memory[-1])
    return steps


def measure(clients, requests):
    """All of it; returns what is reported."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, NAME)
        write_model(1, "mit_tiny", folder / "1")
        images = good_images(1, 2)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
        server = Server(folder)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, clients + FILES)), hard))
        siege = {
            kind: besiege(server, images[0], sent, round(share * clients), seconds)
            for kind, (sent, share, seconds) in KINDS.items()
        }
        memory = memory_over(server, images, requests)
        return {
            "clients_that_keep_the_server_waiting": siege,
            "memory_mb_after_requests": memory,
            "server_exit_status": server.stop(),
            "server_tracebacks": sum("Traceback" in line for line in server.errors),
        }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=1500)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    result = measure(options.clients, options.requests)
    report = {
        "command": f"python -m benchmarks.serving_hostile --clients {options.clients}"
        f" --requests {options.requests}",
        "open_files": FILES,
        **circumstances(),
        **result,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    if result["server_exit_status"] or result["server_tracebacks"]:
        raise SystemExit("the server did not take it: see the report")


if __name__ == "__main__":
    main()
