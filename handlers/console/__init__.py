"""The platform's own pages, beside the contracts and the portal."""

from handlers.console import captcha

__all__ = ["captcha"]
