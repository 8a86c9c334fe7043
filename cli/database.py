"""The service's database, for the commands that look into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.console import chosen_settings
from service.settings import SettingsError

if TYPE_CHECKING:
    import sqlalchemy as sa


@contextmanager
def opened() -> Iterator["sa.Engine"]:
    """The database that the settings name, its tables made where they are missing.

    Raises SettingsError where it cannot be used.
    """
    from sqlalchemy.exc import SQLAlchemyError  # these take a while to import

    from service import audit, keys  # noqa: F401  (their tables are made as well)
    from service.jobs import tables

    settings = chosen_settings(calibrated=False)
    settings.make_data_dir()
    try:
        engine = tables.open_engine(settings.database)
        try:
            yield engine
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise SettingsError(
            f"settings: DATABASE_URL, DATA_DIR: the database cannot be used "
            f"({type(error).__name__})"
        ) from error
