"""What logs say, and what they must not."""

import io
import logging
import sys

import pytest
import structlog

from chatire.logs import logging_config


@pytest.fixture
def written():
    """`written(format)`: what a logger of that format writes of an exception with a secret near."""

    def write(log_format):
        config = logging_config(log_format, "INFO")
        made = config["formatters"]["structured"]
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=made["foreign_pre_chain"], processors=made["processors"]
            )
        )

        def fail(token):
            raise LookupError("nothing there")

        try:
            fail("hush" + "-hush")
        except LookupError:
            failure = sys.exc_info()
        record = logging.LogRecord("tests", logging.ERROR, "", 0, "it failed", (), failure)
        handler.handle(record)
        return stream.getvalue()

    return write


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_exception_is_logged_with_its_place_but_no_local_variables(written, log_format):
    line = written(log_format)
    assert "it failed" in line
    assert "nothing there" in line
    assert "test_logs.py" in line
    assert "hush-hush" not in line


@pytest.mark.parametrize(("level", "expected"), [("DEBUG", "INFO"), ("WARNING", "WARNING")])
def test_handshakes_are_never_logged_as_they_came(level, expected):
    assert logging_config("json", level)["loggers"]["uvicorn.error"]["level"] == expected


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="LOG_FORMAT"):
        logging_config("xml", "INFO")
