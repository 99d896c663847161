"""A machine that may read a bucket and not write to it says so before anything trains, and does not try for long."""

from __future__ import annotations

import json
import time
import urllib.request

from tests.pure.s3_server import CREDENTIALS, s3_server, uri
from trainables.equipment import Question, answer
from trainables.store import Store

READS = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}


def may_read_alone(server: str) -> tuple[str, str]:
    """The key of somebody who may read; from now on the server asks whoever comes for one."""
    import boto3

    iam = boto3.client("iam", endpoint_url=server, region_name="us-east-1")
    iam.create_user(UserName="reader")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [READS]})
    iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    asking = urllib.request.Request(f"{server}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
    urllib.request.urlopen(asking).close()
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_a_machine_that_may_not_write_to_the_bucket_is_found_at_once(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3_server() as (address, port):
        place = uri(address, port, "sweeps")
        store = Store(place)
        with store.filesystem.open_output_stream(f"{store.root}/probe-0123") as stream:
            stream.write(b"0123")
        asked = Question(storage=place, probe="probe-0123", token="0123", versions=(), files=())
        assert answer(asked) == []
        name, secret = may_read_alone(f"http://{address}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        began = time.monotonic()
        (fault,) = answer(asked)
    assert fault.startswith(f"it must write to '{place}', got ")
    assert "ACCESS_DENIED" in fault and "check its credentials" in fault
    assert time.monotonic() - began < 10  # no other try makes it right
