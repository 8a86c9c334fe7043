"""Which of the networks that the settings choose are not here; nothing is read for it."""

from service.settings import Settings
from syncnet_python import profiles, weights
from syncnet_python.profiles import Choice


def chosen(settings: Settings) -> Choice:
    """All that may answer."""
    return profiles.choose(settings.model_profile, settings.models_dir, settings.weights_paths)


def here(settings: Settings, name: str) -> bool:
    """Whether there is a file for the network of that registry name; its hash is checked when it is
    loaded."""
    return weights.locate(name, settings.models_dir, settings.weights_paths.get(name)) is not None


def missing(settings: Settings) -> list[str]:
    """Registry names of those chosen. Without them recordings are scored in part, or not at all."""
    return [name for name in chosen(settings).names if not here(settings, name)]


def can_score(settings: Settings) -> bool:
    """Whether those that are here can measure a recording: the faces' detector, and lip-sync or
    the classifier."""
    choice = chosen(settings)
    parts = (choice.for_sync, (choice.face_detector, choice.classifier))
    return any(all(here(settings, name) for name in part) for part in parts)
