"""`ser predict --engine ray`: the same results in shards, by workers of a local Ray."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from ser.commands.main import app
from ser.errors import UserError
from ser.inference import ray_cluster
from ser.inference.ray_engine import Plan, Worker, count_failed, plan
from ser.inference.settings import PredictorConfig

ray = pytest.importorskip("ray")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module", autouse=True)
def workers_like_this_process():
    """Ray starts its workers with this interpreter; they must find the same packages."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    yield
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture
def table(tmp_path, write_tone) -> Path:
    """Seven recordings; the fifth is not audio."""
    names = [f"clips/{number}.wav" for number in range(7)]
    for number, name in enumerate(names):
        write_tone(tmp_path / name, pitch=200 + 50 * number, seconds=0.4 + 0.2 * number)
    (tmp_path / names[4]).write_bytes(b"no audio")
    pd.DataFrame({"path": names}).to_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def predict(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def by_ray(table: Path, trained: Path, output: Path, *more: str) -> Result:
    options = ["--ckpt", trained, "--device", "cpu", "--engine", "ray", "--output", output]
    return predict(table, *options, "--shard-size", "3", *more)


@pytest.mark.slow
def test_results_equal_those_of_the_local_engine_and_a_stopped_job_continues(
    table, trained, tmp_path
):
    done = by_ray(table, trained, tmp_path / "out")
    assert done.exit_code == 1, done.output  # one is not audio
    assert "1 of 7 recordings failed" in done.output
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert [part.name for part in parts] == [f"part-0000{number}.parquet" for number in range(3)]
    local = predict(
        table, "--ckpt", trained, "--device", "cpu", "--output", tmp_path / "local.parquet"
    )
    assert local.exit_code == 1
    expected = pd.read_parquet(tmp_path / "local.parquet")
    whole = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    # Workers compute with other numbers of threads, so sums are rounded in another order.
    pd.testing.assert_frame_equal(whole, expected, atol=1e-4)
    pd.testing.assert_frame_equal(parquet.read_table(parts).to_pandas(), expected, atol=1e-4)

    kept = parts[0].stat().st_mtime_ns
    content = pd.read_parquet(parts[1])
    parts[1].unlink()
    again = by_ray(table, trained, tmp_path / "out", "--workers", "2", "--batch-size", "1")
    assert again.exit_code == 1, again.output
    assert parts[0].stat().st_mtime_ns == kept
    pd.testing.assert_frame_equal(pd.read_parquet(parts[1]), content, atol=1e-4)
    assert not list((tmp_path / "out").glob("*.tmp"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_stops_ray_without_a_stack_trace(trained, table, tmp_path):
    output = tmp_path / "out"
    words = [
        sys.executable, "-m", "ser", "predict", *[table] * 40, "--ckpt", trained, "--device", "cpu",
        "--engine", "ray", "--shard-size", "1", "--output", output,
    ]  # fmt: skip
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    started = time.monotonic()
    while not any(output.glob("*.parquet")):
        assert process.poll() is None
        assert time.monotonic() - started < 120
        time.sleep(0.1)
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "SIGTERM received" not in stderr  # the stack trace of Ray
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert "SIGTERM" in last
    assert str(output) in last


@pytest.mark.slow
def test_a_shard_whose_workers_die_is_given_up_and_named(table, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(table.parent)
    paths = ["clips/0.wav", "clips/4.wav"]
    planned = plan(
        PredictorConfig(str(trained), "cpu"), paths, tmp_path / "out", shard_size=2, top_k=2
    )
    worker = Worker(planned)
    assert worker({"shard": 0}) == {"recordings": 2}
    assert count_failed(planned.place(0)) == 1
    assert not planned.tries(0).exists()
    planned.tries(0).write_text("3")
    with pytest.raises(RuntimeError, match=r"part-00000.parquet .*clips/0.wav"):
        worker({"shard": 0})


def test_a_folder_of_another_job_is_refused(trained, tmp_path):
    first = plan(
        PredictorConfig(str(trained)),
        ["a.wav", "b.wav"],
        tmp_path / "out",
        shard_size=1,
        top_k=None,
    )
    assert isinstance(first, Plan)
    assert first.missing() == [0, 1]
    first.place(0).touch()
    faster = PredictorConfig(str(trained), device="cpu", batch_size=4)
    again = plan(faster, ["a.wav", "b.wav"], tmp_path / "out", shard_size=1, top_k=None)
    assert again.missing() == [1]
    for job, paths, problem in (
        (PredictorConfig(str(trained), raw=True), ["a.wav", "b.wav"], "raw was False, and is True"),
        (PredictorConfig(str(trained)), ["a.wav", "c.wav"], "paths was"),
        (PredictorConfig(str(trained)), ["a.wav"], "recordings was 2, and is 1"),
    ):
        with pytest.raises(ValueError, match=problem):
            plan(job, paths, tmp_path / "out", shard_size=1, top_k=None)
    assert json.loads((tmp_path / "out" / "job.json").read_text())["recordings"] == 2
    os.utime(trained, ns=(1, 1))  # as after another training into the same folder
    with pytest.raises(ValueError, match="model was"):
        plan(
            PredictorConfig(str(trained)),
            ["a.wav", "b.wav"],
            tmp_path / "out",
            shard_size=1,
            top_k=None,
        )
    with pytest.raises(ValueError, match="choose a new folder"):
        plan(PredictorConfig(str(trained)), ["a.wav"], tmp_path, shard_size=1, top_k=None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--engine", "ray"], "--output=FOLDER"),
        (["--engine", "ray", "--output", "x", "--format", "csv"], "--output=FOLDER"),
        (["--workers", "2"], "--workers=2"),
        (["--shard-size", "5"], "--shard-size=5"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, problem):
    done = predict("a.wav", "--ckpt", "none", *arguments)
    assert done.exit_code != 0
    assert problem in str(done.exception)


def test_standard_input_is_not_for_many_machines(tmp_path):
    done = predict("-", "--ckpt", "none", "--engine", "ray", "--output", tmp_path / "out")
    assert "standard input" in str(done.exception)


def test_a_missing_model_is_one_message_before_ray_starts(table, tmp_path):
    done = by_ray(table, tmp_path / "none.ckpt", tmp_path / "out")
    assert isinstance(done.exception, UserError)
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto", "ray://x:y"])
def test_a_cluster_that_is_not_there_is_one_message(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    started = time.monotonic()
    with pytest.raises(UserError, match="RAY_ADDRESS"), ray_cluster.connected(None):
        pass
    assert time.monotonic() - started < ray_cluster.CONNECT_SECONDS
    assert not ray.is_initialized()


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"], ids=["silent", "other"])
def test_another_server_at_the_address_is_recognised_at_once(scheme, greeting, monkeypatch):
    monkeypatch.setattr(ray_cluster, "PROBE_SECONDS", 1)
    server = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def answer() -> None:
        accepted.append(server.accept()[0])
        accepted[0].sendall(greeting)

    thread = threading.Thread(target=answer)
    thread.start()
    address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(UserError, match="RAY_ADDRESS"), ray_cluster.connected(address):
        pass
    assert time.monotonic() - started < 5
    thread.join()
    accepted[0].close()
    server.close()


@pytest.mark.slow
def test_a_running_ray_is_recognised():
    """Also as `auto`, whose address a private function of Ray finds."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        address = ray.get_runtime_context().gcs_address
        assert ray_cluster.resolve("auto") == address
        ray_cluster.probe(address)
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_given_up():
    """In a process of its own, because the attempt to connect continues in a thread."""
    code = """
import socket
from ser.commands.errors import one_line_errors
from ser.inference import ray_cluster
silent = socket.create_server(("127.0.0.1", 0))
ray_cluster.CONNECT_SECONDS = 3
ray_cluster.probe = lambda address: None
with one_line_errors(), ray_cluster.connected(f"127.0.0.1:{silent.getsockname()[1]}"):
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "error: Ray at 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_for_temporary_files_with_a_long_name_is_one_message(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 60)))
    with pytest.raises(UserError, match="RAY_TMPDIR"), ray_cluster.connected(None):
        pass
