"""What an operator may choose: `table` has every setting, `reading` takes them from where they are
written, `pages` prints them.
"""

from service.settings.reading import SettingsError, as_json, from_json, load, load_or_exit
from service.settings.table import Settings

__all__ = ["Settings", "SettingsError", "as_json", "from_json", "load", "load_or_exit"]
