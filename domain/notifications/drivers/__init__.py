"""Drivers that carry mails away."""

from domain.notifications.drivers.folder import Folder
from domain.notifications.drivers.smtp import Smtp

__all__ = ["Folder", "Smtp"]
