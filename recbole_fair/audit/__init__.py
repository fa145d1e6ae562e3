"""Judging lists that another system has written."""

from recbole_fair.faces import callable_room

callable_room(__name__)  # recbole_fair.audit(...)
