"""A stand-in for the Vision Events API, for tests and demonstrations without a network."""

from vision_event_block.testing.api import Recorded, StandInApi
from vision_event_block.testing.misbehaviour import Misbehaviour
from vision_event_block.testing.offers import Upload

__all__ = ["Misbehaviour", "Recorded", "StandInApi", "Upload"]
