"""Which version of Chatire this is; CHANGELOG.md says what each brought."""

from typing import Final

VERSION: Final = "0.2.0"
