"""The public face of whichever package is importable as `notifications`, as plain data.

Run as a script with the path of django-notifs, it describes that one; imported, ours.
"""

import importlib
import inspect
import json
import pkgutil
import sys
import types
import warnings
from typing import Any

MODULES = ("utils", "channels", "providers", "backends", "default_settings")
CLASSES = {
    "channels.BaseNotificationChannel": (
        "__init__",
        "name",
        "providers",
        "build_payload",
        "registered_channels",
        "provider_paths",
        "get_context",
        "get_delivery_backend",
        "notify",
    ),
    "providers.BaseNotificationProvider": ("__init__", "name", "providers", "send", "send_bulk"),
    "backends.Synchronous": (
        "__init__",
        "get_notification_provider",
        "consume",
        "produce",
        "run",
    ),
    "models.NotificationQuerySet": ("all_unread", "all_read"),
    "models.Notification": ("read", "to_json"),
}


def describe() -> dict[str, Any]:
    """Names, signatures and fields."""
    found: dict[str, Any] = {"names": [], "signatures": {}, "members": {}, "fields": {}}
    path = importlib.import_module("notifications").__path__
    found["modules"] = [
        module.name
        for module in pkgutil.walk_packages(path, "notifications.", onerror=_ignore)
        if not module.name.startswith("notifications.migrations.")
    ]
    for module_name in MODULES:
        module = importlib.import_module(f"notifications.{module_name}")
        names = {*vars(module), *getattr(module, "DEFAULTS", ())}
        found["names"] += [
            f"{module_name}.{name}" for name in sorted(names) if _is_public(module, name)
        ]
    utils = importlib.import_module("notifications.utils")
    for name in ("notify", "read", "get_notification_model"):
        found["signatures"][name] = _signature(getattr(utils, name))
    for path, members in CLASSES.items():
        module_name, class_name = path.split(".")
        cls = getattr(importlib.import_module(f"notifications.{module_name}"), class_name)
        for member in members:
            attribute = inspect.getattr_static(cls, member, None)
            function = getattr(attribute, "__func__", attribute)
            found["members"][f"{path}.{member}"] = (
                None
                if attribute is None
                else _signature(function)
                if inspect.isfunction(function)
                else "attribute"
            )
    model = utils.get_notification_model()
    for field in model._meta.get_fields():
        if field.name != "deliveries":
            length = getattr(field, "max_length", None)
            found["fields"][field.name] = [type(field).__name__, length]
    found["error"] = [base.__name__ for base in _error().__mro__]
    return found


def _ignore(_: str) -> None:
    """Leave out what is in a package that cannot be imported."""


def _is_public(module: types.ModuleType, name: str) -> bool:
    value = getattr(module, name)
    if name.startswith("_") or inspect.ismodule(value):
        return False
    if name.startswith("NOTIFICATIONS_"):
        return True
    return callable(value) and str(getattr(value, "__module__", "")).startswith("notifications.")


def _signature(function: Any) -> list[list[Any]]:
    """Each parameter as [name, kind, default]; self and cls are left out."""
    return [
        [
            parameter.name,
            parameter.kind.name,
            None if parameter.default is parameter.empty else _plain(parameter.default),
        ]
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in {"self", "cls"}
    ]


def _plain(default: Any) -> Any:
    return {} if default == {} else default


def _error() -> type[Exception]:
    error: type[Exception] = importlib.import_module("notifications").NotificationError
    return error


def behave(sender: Any, recipient: Any, stranger: Any, no_such_id: Any) -> dict[str, Any]:
    """Use the package as its users do, and return what came of it."""
    from notifications.channels import BaseNotificationChannel
    from notifications.providers import BaseNotificationProvider
    from notifications.utils import get_notification_model, notify, read

    sent: list[Any] = []

    class SpyProvider(BaseNotificationProvider):
        name = "spy"

        def send(self, payload: Any) -> None:
            sent.append([payload, dict(self.context)])

    class SpyChannel(BaseNotificationChannel):
        name = "spy"
        providers = ["spy"]

        def build_payload(self, provider: str) -> Any:
            return {"to": provider, "text": self.notification.short_description}

    # They are registered by their dotted paths, and so must be found there.
    for spy in (SpyChannel, SpyProvider):
        spy.__qualname__ = spy.__name__
        setattr(sys.modules[spy.__module__], spy.__name__, spy)

    model = get_notification_model()
    result: dict[str, Any] = {}
    fields = {
        "source": sender,
        "source_display_name": "Sally",
        "recipient": recipient,
        "category": "chat",
        "action": "Sent",
        "short_description": "You have a message",
        "url": "https://example.org/1",
        "channels": ["spy"],
    }
    returned = notify(**fields, obj=sender, extra_data={"n": 1, "context": {"room": "x"}})
    result["returned"] = returned
    result["sent"] = list(sent)
    stored = model.objects.get()
    kept = {key: value for key, value in stored.extra_data.items() if key != "context"}
    result["stored"] = {name: getattr(stored, name) for name in fields if name not in _PEOPLE}
    result["stored"] |= {"extra_data": kept, "is_read": stored.is_read}
    result["people"] = [stored.source == sender, stored.recipient == recipient]
    result["obj"] = stored.obj == sender
    told = f"chat: {sender} Sent You have a message => {recipient}"
    result["str"] = [str(stored) == told, str(model(short_description="Nobody did it"))]
    result["json"] = sorted(stored.to_json())

    sent.clear()
    notify(silent=True, **fields)
    result["silent"] = [len(sent), model.objects.count()]
    result["no channels"] = _raised(lambda: notify(**fields | {"channels": []}))
    result["unknown channel"] = _raised(lambda: notify(**fields | {"channels": ["pigeon"]}))
    result["unknown field"] = _raised(lambda: notify(**fields, colour="red"))
    result["count"] = model.objects.count()

    result["read by a stranger"] = _raised(lambda: read(stored.id, stranger))
    result["still unread"] = model.objects.all_unread().filter(pk=stored.pk).exists()
    result["read"] = _raised(lambda: read(notify_id=stored.id, recipient=recipient))
    result["now read"] = model.objects.all_read().filter(pk=stored.pk).exists()
    result["read twice"] = _raised(lambda: read(stored.id, recipient))
    result["read nothing"] = _raised(lambda: read(no_such_id, recipient))
    return result


_PEOPLE = {"source", "recipient"}


def _raised(call: Any) -> str | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, is the answer
        return type(error).__name__
    return None


def _set_up_django_notifs(path: str) -> None:
    """Make django-notifs importable on a Django that it was not written for, with SQLite."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import models

    warnings.simplefilter("ignore")
    # What it imports although nothing here uses it.
    sys.modules["requests"] = types.ModuleType("requests")
    backport = types.ModuleType("django_jsonfield_backport.models")
    backport.JSONField = models.JSONField  # type: ignore[attr-defined]
    sys.modules["django_jsonfield_backport"] = types.ModuleType("django_jsonfield_backport")
    sys.modules["django_jsonfield_backport.models"] = backport
    sys.path.insert(0, path)
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "notifications"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        MIGRATION_MODULES={"notifications": None},
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


if __name__ == "__main__":
    _set_up_django_notifs(sys.argv[1])
    from django.contrib.auth import get_user_model

    people = [get_user_model().objects.create(username=name) for name in ("a", "b", "c")]
    json.dump({"face": describe(), "behaviour": behave(*people, 99)}, sys.stdout)
