"""The ground under every app: it knows none of them."""
