"""Intents of outside effects: the adapter of `perdura.ports.Intents` on the registry (architecture §3.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text


class RegistryIntents:
    """Notes intents at once, in transactions of their own, so that they survive the death of the step."""

    def __init__(self, engine: Engine, step_id: UUID) -> None:
        self._engine = engine
        self._step_id = step_id

    def declare(self, key: str, intent: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note `intent` under `key`; gives back the intent first noted there."""
        with self._engine.begin() as connection:
            row = connection.execute(
                text("""
                    INSERT INTO intent (key, step_id, intent) VALUES (:key, :step, CAST(:intent AS jsonb))
                    ON CONFLICT (key) DO UPDATE SET key = excluded.key
                    RETURNING intent
                """),
                {"key": key, "step": self._step_id, "intent": json.dumps(dict(intent))},
            ).one()
        return dict(row.intent)

    def confirm(self, key: str, result: Mapping[str, Any]) -> None:
        """Note the answer of the outside system."""
        with self._engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE intent SET result = CAST(:result AS jsonb), confirmed_at = clock_timestamp()
                    WHERE key = :key
                """),
                {"key": key, "result": json.dumps(dict(result))},
            )

    def confirmed(self, key: str) -> Mapping[str, Any] | None:
        """The answer noted before, if any."""
        with self._engine.connect() as connection:
            result = connection.execute(
                text("SELECT result FROM intent WHERE key = :key"), {"key": key}
            ).scalar_one_or_none()
        return None if result is None else dict(result)
