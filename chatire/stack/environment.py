"""The environment that the stack gives its processes: from ours, `.env`, and what it starts."""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from chatire.stack.errors import StackError

ROOT = Path(__file__).resolve().parents[2]


def state_folder() -> Path:
    """Return the folder for all that the stack keeps: CHATIRE_STATE_DIR, or .chatire here."""
    return Path(os.environ.get("CHATIRE_STATE_DIR") or ROOT / ".chatire").resolve()


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables in a `.env` file; none if there is no such file.

    Raises StackError naming the first line that is not `NAME=value`, but not its text, which may
    hold a secret.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {error}.", "Repair or remove it.") from error
    values: dict[str, str] = {}
    for binding in bindings:
        if binding.key is None and not binding.error:
            continue  # a comment or an empty line
        if binding.error or binding.value is None or not _is_name(binding.key):
            line = binding.original.line + _leading_newlines(binding.original.string)
            raise StackError(
                f"{path}, line {line}: expected NAME=value.",
                "Quote values that hold quotes or '#'; see .env.example.",
            )
        assert binding.key is not None
        values[binding.key] = binding.value
    return values


def _is_name(key: str | None) -> bool:
    return key is not None and key.isidentifier() and key.isascii()


def _leading_newlines(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")


def secret(folder: Path, name: str) -> str:
    """Return the secret kept in `folder`/`name`, made on first use, readable by us alone."""
    path = folder / name
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        pass
    folder.mkdir(parents=True, exist_ok=True)
    value = secrets.token_urlsafe(48)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(value)
    return value


def load_env_file() -> None:
    """Take over from `.env` what our environment does not set. Raises StackError."""
    for name, value in read_env_file(ROOT / ".env").items():
        os.environ.setdefault(name, value)


def application_environment(
    given: Mapping[str, str],
    *,
    secret_key: Callable[[], str],
    database_url: str,
    model: Mapping[str, str],
) -> dict[str, str]:
    """Return what the Procfile's processes run with; what was given wins.

    `secret_key` gives the key of this installation where none is set. `model` holds the variables
    for the embedded model, or nothing if one of your own is used.
    """
    defaults = {
        "CHATIRE_ENV": "development",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        # Loopback only: a development stack is not for the network.
        "CHATIRE_BIND": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "chatire.settings",
    }
    environment = {**defaults, **model, **given, "DATABASE_URL": database_url}
    if not environment.get("SECRET_KEY"):
        environment["SECRET_KEY"] = secret_key()
    # Servers without keys ignore it, but the client library insists on one.
    if not environment.get("OPENAI_API_KEY"):
        environment["OPENAI_API_KEY"] = "none"
    return environment
