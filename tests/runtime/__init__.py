"""Tests of tfshop.runtime."""
