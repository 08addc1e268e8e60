"""The settings of this installation, for reading: they are environment variables of its processes."""

from __future__ import annotations

from pydantic import SecretStr

from perdura.accounts.principals import Permission
from perdura.api.models.accounts import SettingAnswer, SettingList
from perdura.api.operations import Call, Section
from perdura.settings import Settings

section = Section("Settings")


@section.get("/settings", permission=Permission.ADMINISTER)
def list_settings(call: Call) -> SettingList:
    """The settings of the registry. Of a secret only whether it is set is told."""
    return SettingList(items=shown(call.services.settings))


def shown(settings: Settings) -> list[SettingAnswer]:
    """Every setting; secrets without their values."""
    answers = []
    for name, info in Settings.model_fields.items():
        value = getattr(settings, name)
        secret = isinstance(value, SecretStr) or "SecretStr" in str(info.annotation)
        answers.append(
            SettingAnswer(
                name=f"PERDURA_{name.upper()}",
                value=None if secret or value is None else str(value),
                secret=secret,
                is_default=value == info.default,
                description=info.description or "",
            )
        )
    return answers
