"""An AIP of Archivematica is packed as well as it can be: no ratio makes a bomb of one that is as it should be."""

from __future__ import annotations

from perdura.outcome import StepState
from tests.peers.test_archivematica_driver import Scene


def test_an_aip_that_could_be_compressed_more_than_a_hundredfold_is_taken_over_at_the_first_try() -> None:
    scene = Scene()
    case = scene.driver.add(1, {"zeros.raw": bytes(70 << 20), "a.txt": b"x"})
    scene.driver.run(3 * 3600, tick=5)
    (stored,) = scene.pipeline.stored.values()
    assert 100 * len(stored.made.data) < (70 << 20)
    assert case.state is StepState.COMPLETED, case.outcome
    assert len(scene.pipeline.started) == 1
