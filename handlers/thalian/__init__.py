"""Thalian: identity-security posture, its MCP interface, and remediation."""
