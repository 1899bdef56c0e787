"""What the worker does for accounts."""

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from accounts import services
from core.threads import in_slow_thread


@app.task(name=services.RESET_MAIL_TASK, retry=RetryStrategy(max_attempts=5, exponential_wait=5))
async def send_password_reset(email: str, site: str) -> None:
    """Mail a reset link; see `services.send_password_reset`."""
    await in_slow_thread(services.send_password_reset, email=email, site=site)
