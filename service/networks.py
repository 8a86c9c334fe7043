"""Which of the networks that the settings choose are not here; nothing is read for it."""

from service.settings import Settings
from syncnet_python import profiles, weights
from syncnet_python.profiles import Choice


def chosen(settings: Settings) -> Choice:
    """All that may answer."""
    return profiles.choose(settings.model_profile, settings.models_dir, settings.weights_paths)


def missing(settings: Settings) -> list[str]:
    """Their registry names. Without them recordings are scored in part, or not at all."""
    folder, paths = settings.models_dir, settings.weights_paths
    names = chosen(settings).names
    return [name for name in names if not weights.locate(name, folder, paths.get(name))]


def can_score(settings: Settings) -> bool:
    """Whether those that are here can measure a recording: the faces' detector, and lip-sync or
    the classifier."""
    choice, absent = chosen(settings), set(missing(settings))
    parts = (set(choice.for_sync), {choice.face_detector, choice.classifier})
    return any(absent.isdisjoint(part) for part in parts)
