"""A broker that asks for TLS, a certificate and a password: all our clients come in, and say why where they do not."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streams.config import Config, Kafka, Secret
from streams.embedded.broker import broker_command, java, properties, resolve_jars
from streams.errors import ConfigError, DependencyError
from streams.kafka import Producer, Topics, read_partition, wait_for_broker, wait_for_topics
from streams.model import FRAMES
from tests.processes import CONTROLLER_PORT_STEP, end, environment, free_port, listens, role, wait_for
from tests.racks import counter_sample, record, sflow, words

NOW = 1_790_000_000 * 10**9
PASSWORD = "open-sesame"


@dataclass
class SecureBroker:
    """Its one listener speaks TLS, wants a certificate of `folder`/ca.pem, and SCRAM as the user `orbitrack`."""

    folder: Path
    port: int

    def kafka(self, prefix: str, **changes: object) -> Kafka:
        login = {"user": "orbitrack", "password": Secret(PASSWORD)}
        files = {"ca": self.folder / "ca.pem", "certificate": self.folder / "client.pem"}
        settings = {"bootstrap": f"127.0.0.1:{self.port}", "prefix": prefix, "partitions": 1, "tls": True, **login, **files}
        return Kafka.model_validate(settings | changes)


def write_certificate(issued: trustme.LeafCert, file: Path) -> None:
    """Key and certificate; Kafka reads keys in PKCS 8 only."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + b"".join(certificate.bytes() for certificate in issued.cert_chain_pems)
    )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    folder = tmp_path_factory.mktemp("secure-kafka")
    port = free_port(CONTROLLER_PORT_STEP)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("broker", "client"):
        write_certificate(authority.issue_cert("127.0.0.1"), folder / f"{name}.pem")

    plain = properties(folder, port, 1, f"1@127.0.0.1:{port + CONTROLLER_PORT_STEP}")
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    secure = {
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config":
            f'{module} required username="orbitrack" password="{PASSWORD}";',
        "listener.name.sasl_ssl.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM", "ssl.keystore.location": folder / "broker.pem",
        "ssl.truststore.type": "PEM", "ssl.truststore.location": folder / "ca.pem",
    }
    lines = plain.replace("PLAINTEXT://", "SASL_SSL://").replace("=PLAINTEXT:PLAINTEXT,", "=SASL_SSL:SASL_SSL,").splitlines()
    (folder / "server.properties").write_text("\n".join([*lines, *(f"{key}={value}" for key, value in secure.items())]) + "\n")

    jars = resolve_jars()
    scram = f"SCRAM-SHA-512=[name=orbitrack,password={PASSWORD}]"
    tool = [*java(jars), "kafka.tools.StorageTool", "format", "-t", "c2VjdXJlLWthZmthLS0tLQ", "--add-scram", scram]
    subprocess.run([*tool, "-c", str(folder / "server.properties")], check=True, timeout=120, capture_output=True)
    log = folder / "broker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            broker_command(folder, jars), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        wait_for("the broker", lambda: listens(port) or process.poll() is not None, 120, log)
        assert process.poll() is None, log.read_text()[-3000:]
        yield SecureBroker(folder, port)
    finally:
        end(process)


def test_worker_reads_and_writes_through_tls_and_scram(broker: SecureBroker, topic_prefix: str, tmp_path: Path) -> None:
    """Admin, idempotent and transactional producers, Faust's consumer and our own: one frame in, its samples out."""
    kafka = broker.kafka(topic_prefix)
    datagram = sflow(counter_sample(record(1, words(3, 6, 0, 1_000_000_000, 1, 3, 0, 4711, *[0] * 14)[:88])))
    row = {"received_ns": NOW, "source": "10.0.0.1", "link": "racks", "codec": "sflow", "frame": datagram}

    async def send() -> None:
        await wait_for_topics(kafka)
        async with Producer(kafka) as producer:
            await (await producer.send(Topics(topic_prefix).frames_rack, 0, pa.RecordBatch.from_pylist([row], schema=FRAMES)))

    async def samples() -> int:
        # Far below the 30 s that asyncio gives the end of a TLS connection: nobody waits for the broker's goodbye.
        async with asyncio.timeout(20):
            return len([each async for each in read_partition(kafka, Topics(topic_prefix).samples, 0)])

    asyncio.run(send())
    file = tmp_path / "orbitrack.toml"
    file.write_text(
        f'data_dir = "{tmp_path}"\n[kafka]\nbootstrap = "{kafka.bootstrap}"\nprefix = "{topic_prefix}"\npartitions = 1\n'
        f'tls = true\nca = "{kafka.ca}"\ncertificate = "{kafka.certificate}"\nuser = "orbitrack"\npassword = "env:SECRET"\n'
        '[metrics.listen]\nworker = "127.0.0.1:0"\n[[link]]\nname = "racks"\ncodec = "sflow"\n'
    )
    log = tmp_path / "worker.log"
    worker = role("worker", environment() | {"ORBITRACK_CONFIG": str(file), "SECRET": PASSWORD}, log)
    try:
        wait_for("samples", lambda: asyncio.run(samples()) > 0, 120, log)
    finally:
        end(worker)
    assert PASSWORD not in log.read_text()


@pytest.mark.parametrize(("changes", "reason"), [
    ({"password": Secret("wrong")}, "invalid credentials with SASL mechanism SCRAM-SHA-512"),
    ({"mechanism": "PLAIN"}, "UnsupportedSaslMechanism"),
    ({"certificate": None}, "Connection at .* closed|CERTIFICATE_REQUIRED"),
    ({"ca": None}, "CERTIFICATE_VERIFY_FAILED"),
])
def test_who_is_refused_is_told_why(
    broker: SecureBroker, topic_prefix: str, changes: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DependencyError) as refused:
        asyncio.run(wait_for_broker(broker.kafka(topic_prefix, **changes), deadline_s=1))
    assert re.search(reason, caplog.text + str(refused.value))
    assert PASSWORD not in caplog.text


def test_encrypted_key_is_refused_without_asking_for_its_passphrase(broker: SecureBroker, topic_prefix: str) -> None:
    key = load_pem_private_key((broker.folder / "client.pem").read_bytes(), password=None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (broker.folder / "encrypted.pem").write_bytes(encrypted)
    with pytest.raises(ConfigError, match="is encrypted"):
        asyncio.run(wait_for_broker(broker.kafka(topic_prefix, key=broker.folder / "encrypted.pem"), deadline_s=1))


def test_file_without_certificates_is_named(broker: SecureBroker, topic_prefix: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigError, match=r"empty\.pem"):
        asyncio.run(wait_for_broker(broker.kafka(topic_prefix, ca=tmp_path / "empty.pem"), deadline_s=1))


@pytest.mark.parametrize(("settings", "named"), [
    ({"user": "x"}, "password"), ({"password": "x"}, "user"), ({"ca": "FILE"}, "tls = true"),
    ({"tls": True, "key": "FILE"}, "certificate"),
])
def test_half_a_login_is_a_mistake_of_the_configuration(settings: dict[str, object], named: str, tmp_path: Path) -> None:
    (tmp_path / "file.pem").write_text("")
    files = {key: str(tmp_path / "file.pem") if value == "FILE" else value for key, value in settings.items()}
    with pytest.raises(ValueError, match=named):
        Config.model_validate({"kafka": files})
