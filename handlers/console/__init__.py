"""The platform's own pages, beside the contracts and the portal."""

from handlers.console import account, captcha, keys, pictures, saml, setup, workspace

__all__ = ["account", "captcha", "keys", "pictures", "saml", "setup", "workspace"]
