"""Replay untrusted agent trails inside a disposable Docker container."""
