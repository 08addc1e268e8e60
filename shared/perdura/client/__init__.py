"""The registry from Python: `Client` speaks to its REST API.

    from perdura.client import Client, file_to_send

    with Client("https://registry.example.org", token="perdura_…") as registry:
        archive = registry.deposit(file_to_send("letters.zip"), title="Letters")
        registry.wait(archive)
        for failed in registry.archives(state=["failed"], source=["zenodo"]):
            registry.retry(failed["id"])

Documents come as the API sends them (`/api/docs`). Nothing here knows of the rest of Perdura; see docs/client.md.
"""

from perdura.client.errors import Refused, Unreachable
from perdura.client.registry import Client
from perdura.client.uploads import Upload, file_to_send

__all__ = ["Client", "Refused", "Unreachable", "Upload", "file_to_send"]
