"""Conversations: who answers whom, where answers are kept, and what stops a loop."""
