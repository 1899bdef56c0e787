"""What `.env` may say, and what the processes are given."""

import stat

import pytest

from chatire.stack.environment import application_environment, read_env_file, secret
from chatire.stack.errors import StackError


def test_env_file_is_read_with_quotes_comments_and_export(tmp_path):
    path = tmp_path / ".env"
    path.write_text("# ours\nA=1\n\nexport B='two words'\nC=\"with # mark\"  # note\nEMPTY=\n")
    assert read_env_file(path) == {"A": "1", "B": "two words", "C": "with # mark", "EMPTY": ""}


def test_missing_env_file_sets_nothing(tmp_path):
    assert read_env_file(tmp_path / ".env") == {}


@pytest.mark.parametrize(
    "broken", ["SECRET swordfish", "swordfish", "MY-KEY=swordfish", "KEY='swordfish"]
)
def test_broken_env_file_is_reported_by_line_without_its_text(tmp_path, broken):
    path = tmp_path / ".env"
    path.write_text(f"A=1\n\n{broken}\nB=2\n")
    with pytest.raises(StackError, match=r"\.env, line 3: expected NAME=value") as caught:
        read_env_file(path)
    assert "swordfish" not in str(caught.value) + caught.value.remedy
    assert "\n" not in str(caught.value)


def test_env_file_that_is_not_text_is_reported(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(StackError, match="cannot be read"):
        read_env_file(path)


def test_secret_is_kept_and_is_ours_alone(tmp_path):
    first = secret(tmp_path / "new", "key")
    assert len(first) >= 50
    assert secret(tmp_path / "new", "key") == first
    assert stat.S_IMODE((tmp_path / "new" / "key").stat().st_mode) == 0o600


def test_what_is_given_wins_over_defaults_and_the_embedded_model():
    environment = application_environment(
        {"SECRET_KEY": "given", "ALLOWED_HOSTS": "chat.test", "CHATIRE_MODEL": "mine"},
        secret_key=lambda: "made",
        database_url="postgresql://here/db",
        model={"CHATIRE_MODEL": "embedded", "OPENAI_API_KEY": "key"},
    )
    assert environment["SECRET_KEY"] == "given"
    assert environment["ALLOWED_HOSTS"] == "chat.test"
    assert environment["CHATIRE_MODEL"] == "mine"
    assert environment["OPENAI_API_KEY"] == "key"
    assert environment["DATABASE_URL"] == "postgresql://here/db"


def test_a_model_server_without_keys_gets_a_placeholder():
    environment = application_environment(
        {"OPENAI_BASE_URL": "http://localhost:11434/v1"},
        secret_key=lambda: "made",
        database_url="postgresql://here/db",
        model={},
    )
    assert environment["OPENAI_API_KEY"] == "none"
    assert environment["SECRET_KEY"] == "made"
