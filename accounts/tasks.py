"""What the worker does for accounts."""

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from accounts import services


@app.task(
    name="accounts.send_password_reset",
    retry=RetryStrategy(max_attempts=5, exponential_wait=5),
)
def send_password_reset(email: str, site: str) -> None:
    """Mail a reset link; see `services.send_password_reset`."""
    services.send_password_reset(email=email, site=site)
