"""How well attributes can be read from what a model knows of its users."""

from recbole_fair.faces import callable_room

callable_room(__name__)  # recbole_fair.probe(...)
