"""Vocabularies that the command line offers; light, so that its help is quick."""

from enum import StrEnum

__all__ = ["Modality", "Stage"]


class Modality(StrEnum):
    """What a system put out, or was built for."""

    text = "text"
    image = "image"
    video = "video"
    audio = "audio"
    multimodal = "multimodal"


class Stage(StrEnum):
    """Where in a system's life it went wrong."""

    data = "data"
    model = "model"
    output = "output"
