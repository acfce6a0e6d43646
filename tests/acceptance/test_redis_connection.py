"""`sampoll serve redis`: the server that it connects to, and the user."""

import signal
import socket
from pathlib import Path

import pytest
import redis
import trustme
from support.process import running_sampoll, sampoll, until
from support.redis_clients import Annotator, classic_request, next_reply
from support.redis_servers import VALKEY, Server, proxy_to, running_server
from support.redis_serving import BOX, IMAGE, request, serving


def test_a_password_is_needed_and_is_never_shown(tmp_path: Path) -> None:
    secret = "open-sesame"
    (tmp_path / "secret").write_text(f"{secret}\n")
    (tmp_path / "wrong").write_text("open-barley")
    with running_server(VALKEY, "--requirepass", secret) as server:
        flags = ("serve", "redis", "--redis-port", server.port, "--model", "support.fakes:boxes")
        without = sampoll(*flags)
        wrong = sampoll(*flags, "--redis-password-file", tmp_path / "wrong")
        url = f"redis://:{secret}@127.0.0.1:{server.port}/0"
        shown = sampoll("serve", "redis", "--print-config", env={"SAMPOLL_REDIS_PASSWORD": secret})
        shown_url = sampoll("serve", "redis", "--print-config", "--redis-url", url)
        with serving(tmp_path, server.port, "--redis-password-file", tmp_path / "secret") as by_file:
            assert by_file.end() == 0
        with serving(tmp_path, server.port, env={"SAMPOLL_REDIS_PASSWORD": secret}) as service:
            with server.client(password=secret) as client:
                assert len(Annotator(client).ask(IMAGE, BOX)) == 1
            assert service.end() == 0

    assert without.returncode == wrong.returncode == 77
    assert "refuses: Authentication required" in without.stderr
    assert "--redis-password-file" in without.stderr
    assert shown.returncode == shown_url.returncode == 0
    for text in (wrong.stderr, shown.stdout, shown_url.stdout, service.log, by_file.log):
        assert secret not in text
        assert "open-barley" not in text


def test_the_rights_to_subscribe_and_publish_are_enough_and_less_is_fatal(tmp_path: Path) -> None:
    rights = "reset on >p +psubscribe +publish"
    with running_server() as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "sam", *rights.split(), "&sam_in", "&sam_out")
        client.execute_command("ACL", "SETUSER", "deaf", *rights.split(), "&sam_out")
        client.execute_command("ACL", "SETUSER", "mute", *rights.split(), "&sam_in")
        env = {"SAMPOLL_REDIS_PASSWORD": "p"}
        deaf = sampoll(
            *("serve", "redis", "--redis-port", server.port, "--redis-username", "deaf"),
            *("--model", "support.fakes:boxes"),
            env=env,
        )
        with serving(tmp_path, server.port, "--redis-username", "mute", env=env) as mute:
            client.publish("sam_in", classic_request(IMAGE, BOX))
            assert mute.process.wait(30) == 77
        assert "No permissions" in mute.log or "no permissions" in mute.log
        with serving(tmp_path, server.port, "--redis-username", "sam", env=env) as service:
            with client.pubsub() as pubsub:
                pubsub.subscribe("sam_out", "elsewhere")
                client.publish("sam_in", request(id="kept"))
                reply = next_reply(pubsub)
                client.publish("sam_in", request(id="lost", reply_to="elsewhere"))
                until(lambda: "a reply for elsewhere is lost" in service.log, "the loss to be told")
                client.publish("sam_in", request(id="next"))
                following = next_reply(pubsub)
            assert service.end() == 0

    assert deaf.returncode == 77
    assert "error" not in reply["meta"]
    assert following["id"] == "next"
    assert "replies are not kept for late subscribers" in service.log
    assert "1 replies lost" in service.log


def test_the_connection_can_use_tls(tmp_path: Path, server: Server, client: "redis.Redis") -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with proxy_to(server.port, (tmp_path / "cert.pem", tmp_path / "key.pem")) as proxy:
        url = f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        with running_sampoll(
            "serve", "redis", "--model", "support.fakes:boxes", "--redis-url", url
        ) as process:
            until(lambda: client.pubsub_numpat() == 1, "the subscription")
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
            process.terminate()
            assert process.wait(30) == 0


def test_a_url_together_with_a_port_is_refused() -> None:
    run = sampoll(
        "serve",
        "redis",
        "--redis-url",
        "redis://a:p@b/0",
        "--redis-port",
        1,
        "--model",
        "support.fakes:boxes",
    )

    assert run.returncode == 78
    assert run.stderr == "sampoll: redis-url says where Redis is, and redis-port too: leave one of them out\n"


def test_embedded_together_with_a_url_is_refused() -> None:
    run = sampoll(
        "serve", "redis", "--embedded", "--redis-url", "redis://b", "--model", "support.fakes:boxes"
    )

    assert run.returncode == 2
    assert "leave redis-url and redis-host out" in run.stderr


def test_an_embedded_server_needs_no_other_setting_and_ends_with_the_service(tmp_path: Path) -> None:
    port = Server().port
    with serving(tmp_path, port, "--embedded") as service:
        with redis.Redis(port=port) as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        assert service.end(signal.SIGINT) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_an_embedded_server_whose_port_is_taken_is_an_error(server: Server) -> None:
    run = sampoll(
        "serve", "redis", "--embedded", "--redis-port", server.port, "--model", "support.fakes:boxes"
    )

    assert run.returncode == 69
    assert "perhaps another one has the port" in run.stderr
