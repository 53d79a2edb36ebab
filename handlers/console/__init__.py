"""The platform's own pages, beside the contracts and the portal."""

from handlers.console import account, captcha, keys

__all__ = ["account", "captcha", "keys"]
