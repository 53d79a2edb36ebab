"""Where containers can be: `local` (this server), `openai` (its containers API)."""
