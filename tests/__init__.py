"""Tests, one file a module, and what they share."""
