"""Our face against that of django-notifs 4.0.0, which has the same import name: loaded apart.

The package is fetched from the package index once, into .chatire/borrowed/; without a network
and without that copy these tests are skipped.
"""

import hashlib
import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from tests.notifications import face

ROOT = Path(__file__).parents[2]
BORROWED = ROOT / ".chatire" / "borrowed"
WHEEL = "django_notifs-4.0.0-py3-none-any.whl"
SHA256 = "de1e53fee104249656a409a6aac799794c866101d85e0f335eed1c2b8bbb7a3b"
SECONDS = 30

# Names of django-notifs that we do without.
LEFT_OUT = {
    "providers.FCMWebNotificationProvider": "Google has switched off the API it calls",
    "default_settings.NOTIFICATIONS_FCM_WEB_KEY": "its setting",
    "backends.Channels": "a channel layer keeps nothing, so that a crash loses deliveries",
    "default_settings.NOTIFICATIONS_CHANNELS": "django-notifs 4.0.0 itself never reads it",
    "default_settings.NOTIFICATIONS_WEBSOCKET_URL_PARAM": "of a consumer that admits anyone",
    "default_settings.NOTIFICATIONS_PUSHER_CHANNELS_URL": "of a provider for a paid service",
    "default_settings.NOTIFICATIONS_SQS_QUEUE_URL": "of a backend for a paid service",
    "default_settings.NOTIFICATIONS_SLACK_BOT_TOKEN": "of a provider for a paid service",
}
# Modules of django-notifs that cannot be imported here.
ONE_MODULE = (
    "what it has is in `notifications.channels` or `notifications.providers`, as it is there"
)
MODULES_LEFT_OUT = {
    "channels.base": ONE_MODULE,
    "channels.console": ONE_MODULE,
    "channels.django_channels": ONE_MODULE,
    "providers.base": ONE_MODULE,
    "providers.console": ONE_MODULE,
    "providers.django_channels": ONE_MODULE,
    "providers.email": ONE_MODULE,
    "providers.django_sms": "of a provider that is not here",
    "providers.fcm_web": "of a provider that is not here",
    "providers.pusher_channels": "of a provider for a paid service",
    "providers.slack": "of a provider for a paid service",
    "backends.aws_sqs_lambda": "of a backend for a paid service",
    "backends.celery": "of a backend that is not here",
    "backends.django_channels": "of a backend that is not here",
    "backends.rq": "of a backend that is not here",
    "consumers": "they let anyone into any room",
    "routing": "its consumers' routes",
    "fields": "JSON fields for Django before 3.1",
}
# Fields of another type, and which.
OTHER_TYPES = {
    "id": "UUIDField",  # as everywhere here
    "object_id": "CharField",  # refers to such keys
}


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """django-notifs' face and behaviour, told by a process of its own."""
    wheel = BORROWED / WHEEL
    if not wheel.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=0"]
        command += ["--no-deps", "--only-binary=:all:", f"--dest={BORROWED}"]
        fetched = subprocess.run(
            [*command, "django-notifs==4.0.0"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if fetched.returncode != 0:
            pytest.skip(f"django-notifs cannot be fetched: {fetched.stderr.strip()[-200:]}")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256
    package = wheel.with_suffix("")
    if not package.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(package)
    # -P: the checkout, with its own `notifications`, stays off the path.
    told = subprocess.run(
        [sys.executable, "-P", face.__file__, package],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        cwd=package,
    )
    return json.loads(told.stdout)


def test_every_name_is_here_but_those_left_out(theirs):
    missing = {
        name
        for name in theirs["face"]["names"]
        if not hasattr(importlib.import_module("notifications." + name.split(".")[0]), last(name))
    }
    assert missing == set(LEFT_OUT)


def test_every_module_is_here_but_those_left_out(theirs):
    missing = set(theirs["face"]["modules"]) - set(face.describe()["modules"])
    assert missing == {f"notifications.{name}" for name in MODULES_LEFT_OUT}


def last(name: str) -> str:
    return name.split(".")[1]


def test_functions_take_the_same_arguments(theirs):
    assert face.describe()["signatures"] == theirs["face"]["signatures"]


def test_classes_have_the_same_members(theirs):
    assert None not in theirs["face"]["members"].values()
    assert face.describe()["members"] == theirs["face"]["members"]


def test_the_error_is_the_same_kind(theirs):
    assert face.describe()["error"] == theirs["face"]["error"]


def test_notifications_have_the_same_fields(theirs):
    ours = face.describe()["fields"]
    for name, (kind, length) in theirs["face"]["fields"].items():
        if name in OTHER_TYPES:
            assert ours[name][0] == OTHER_TYPES[name] != kind
        else:
            assert ours[name] == [kind, length], name


def test_it_behaves_the_same(theirs, alice, bob, charlie, settings):
    # Theirs knows nothing else by default; without a worker it shows in this process.
    settings.NOTIFICATIONS_DELIVERY_BACKEND = "notifications.backends.Synchronous"
    ours = face.behave(alice, bob, charlie, uuid7())
    assert json.loads(json.dumps(ours)) == theirs["behaviour"]
