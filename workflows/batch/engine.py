"""What a worker of a batch scores with: the service's engine, and what a command line may choose
beside the settings. Worker processes load it, and this process never does.
"""

import json
from collections.abc import Mapping

from pydantic import JsonValue, TypeAdapter

from service.scoring.engine import WrapperEngine
from service.settings import from_json
from syncnet_python.profiles import Network, Options

_NETWORK: TypeAdapter[Network | None] = TypeAdapter(Network | None)
_OPTIONS = TypeAdapter(Options)


def build(options: Mapping[str, JsonValue]) -> WrapperEngine:
    """options: `settings` by name, `network` and `options` as for `SyncNetWrapper`; whatever the
    environment says. Raises OptionRefused, CalibrationError."""
    chosen = _OPTIONS.validate_python(options["options"])
    return WrapperEngine(
        from_json(json.dumps(options["settings"])),
        network=_NETWORK.validate_python(options["network"]),
        facedet_scale=chosen.facedet_scale,
        crop_scale=chosen.crop_scale,
        vshift=chosen.vshift,
    )
