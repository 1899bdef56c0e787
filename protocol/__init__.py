"""Every frame on the wire, and every limit and close code. Pure Python, no Django.

REST answers with the same states that the socket's events carry, so a client keeps one reducer.
"""
