"""The platform's own pages, beside the contracts and the portal."""

from handlers.console import captcha, keys

__all__ = ["captcha", "keys"]
