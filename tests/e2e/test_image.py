"""The container image without a container: its whole root directory, read-only, and in it the binary as its user."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rig.places import AwsPlace
from rig.services import free_port
from rig.traffic import good, simulated, worker_settings
from rig.waiting import wait_for

REPO = Path(__file__).resolve().parents[2]
SMOOTHER = "/usr/local/bin/smoother"
# A root that nobody can write to, and a user without rights; without being root here, one who only seems to be.
ENTER = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec chroot $USERSPEC "$0" "$@"'


@pytest.fixture(scope="session")
def root(binary, tmp_path_factory):
    directory = tmp_path_factory.mktemp("image") / "root"
    subprocess.run([REPO / "scripts/image-root", binary, directory], check=True, timeout=60)
    return directory


@pytest.fixture
def inside(root, processes):
    """Starts smoother in the image: inside(*arguments, env=…) → the process."""
    privileged = os.geteuid() == 0
    unshare = ["unshare", "--mount", *([] if privileged else ["--map-root-user"])]
    userspec = {"USERSPEC": "--userspec=65532:65532" if privileged else ""}

    def start(*arguments, env=None):
        command = [*unshare, "sh", "-c", ENTER, root, SMOOTHER, *arguments]
        return processes.start(f"image-{arguments[0].strip('-')}", command, {**(env or {}), **userspec})

    return start


@contextmanager
def tls_in_front_of(url, directory):
    """Serves what `url` serves over TLS, with a certificate of its own; yields its URL and the certificate."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=emulator", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    target = urlsplit(url)

    async def copy(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connected(reader, writer):
        upstream = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(copy(reader, upstream[1]), copy(upstream[0], writer))

    port, loop, ready = free_port(), asyncio.new_event_loop(), threading.Event()

    def serve():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", port, ssl=context))
        ready.set()
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"https://127.0.0.1:{port}", certificate
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def test_the_image_holds_nothing_but_what_the_binary_needs(root, inside):
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    libraries = {file for file in files if file.startswith("lib")}
    assert files - libraries == {
        "etc/group",
        "etc/nsswitch.conf",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/local/bin/smoother",
    }
    assert 3 <= len(libraries) <= 6, libraries
    assert not [path for path in root.rglob("*") if path.is_symlink()]
    version = inside("--version")
    assert version.ended(30) == 0 and version.out().startswith("smoother "), version.log()


def test_a_worker_in_the_image_works_over_tls_checks_its_health_and_drains(root, binary, inside, processes, emulator, bedrock, tmp_path):
    place = AwsPlace(binary, processes, emulator)
    simulator = bedrock(simulated())
    health = f"127.0.0.1:{free_port()}"
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    kept = tmp_path / "bundle"
    shutil.copy(bundle, kept)
    with tls_in_front_of(emulator, tmp_path) as (url, certificate):
        env = {
            **place.env,
            "AWS_ENDPOINT_URL": url,
            "SMOOTHER_BEDROCK_ENDPOINT": simulator.url,
            "SMOOTHER_HEALTH_LISTEN": health,
            "SMOOTHER_SETTINGS": worker_settings(),
        }
        # The authorities of the image do not know this one: TLS is really checked, and against this bundle.
        stranger = inside("status", env=env)
        assert stranger.ended(60) != 0 and "certificate" in stranger.log().lower(), stranger.log()
        bundle.write_text(kept.read_text() + certificate.read_text())
        try:
            worker = inside("run", env=env)
            messages = [m for m in (good(n) for n in range(40)) if m.kind in ("plain", "tool", "image")]
            place.send([message.text for message in messages])
            wait_for("the requests' ends", lambda: place.finished() == len(messages), 60, alive=[worker])
            for probe in (["health"], ["health", "--ready"]):
                asked = inside(*probe, env={"SMOOTHER_HEALTH_LISTEN": health})
                assert asked.ended(10) == 0, asked.log()
            worker.signal(signal.SIGTERM)
            assert worker.ended(30) == 0, worker.log()
            refused = inside("health", env={"SMOOTHER_HEALTH_LISTEN": health})
            assert refused.ended(10) == 1 and refused.log().count("\n") == 1, refused.log()
        finally:
            shutil.copy(kept, bundle)
    results = {result["request_id"] for result, _ in place.take_results(wait=1)}
    assert results == {message.name for message in messages}
