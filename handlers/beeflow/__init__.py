"""Bee Flow: an AI service beside Nextcloud, with agents, knowledge, automations and compliance."""
