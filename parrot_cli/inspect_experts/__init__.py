"""`parrot inspect-experts`: which expert works for which language."""

from parrot_cli.inspect_experts.command import inspect_experts

__all__ = ["inspect_experts"]
