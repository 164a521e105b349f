"""Standard Webhooks headers (standardwebhooks.com, spec 1.0), made with the package `standardwebhooks`.

    headers = signed_headers(secret, webhook_id, now_ns, body)

`secret` is `whsec_` and base64, or several of these separated by spaces while one replaces another: a signature for each.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

from standardwebhooks import Webhook

from streams.clock import NS
from streams.errors import ConfigError

__all__ = ["check_secret", "signed_headers"]


def signers(secret: str) -> list[Webhook]:
    return [Webhook(part) for part in secret.split()]


def check_secret(secret: str, webhook: str) -> None:
    """ConfigError where nothing can be signed with the secret; it is not shown."""
    try:
        texts = [part.removeprefix("whsec_") for part in secret.split()]
        keys = [b64decode(text + "=" * (-len(text) % 4), validate=True) for text in texts]
        usable = bool(keys) and all(keys)
    except ValueError:                                      # binascii.Error is one
        usable = False
    if not usable:
        raise ConfigError(
            f"the secret of webhook '{webhook}' is not base64",
            hint="write whsec_ and 24 to 64 random bytes in base64, for example from `openssl rand -base64 32`",
        )


def signed_headers(secret: str | None, webhook_id: str, now_ns: int, body: bytes) -> dict[str, str]:
    """The three headers; without a secret there is no signature."""
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(now_ns // NS)}
    if secret:
        time, text = datetime.fromtimestamp(now_ns // NS, UTC), body.decode()
        headers["webhook-signature"] = " ".join(signer.sign(webhook_id, time, text) for signer in signers(secret))
    return headers
