"""Slow, obvious versions of what the core does. Tests compare; nothing else imports them."""
