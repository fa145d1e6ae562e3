"""The one door to RecBole: all else imports its names from here, so no import order brings in an unpatched host."""

from recbole_fair.host.names import *  # noqa: F403
from recbole_fair.host.names import __all__ as __all__
