"""Parameters of which some are not known yet: a run gives them later.

What is known is typed as the parameter's own field is. What is not known is absent, defaults included, so that whoever
reads it gets an AttributeError instead of a value that the step will not have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import TypeAdapter

from hdr_responder.actions.contract import Parameters


def partial_parameters(
    model: type[Parameters], known: Mapping[str, object], unknown: Collection[str] = ()
) -> Parameters:
    """Return parameters with the values of ``known``, without ``unknown``, and with defaults for all others.

    Both are spelled as playbooks spell them. Raises ValidationError for a value that its field refuses.
    """
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    values = {
        names[key]: _adapter(model, names[key]).validate_python(known[key]) for key in names.keys() & known.keys()
    }
    made = model.model_construct(**values)
    absent = {names[key] for key in unknown if key in names}
    absent |= {name for name, field in model.model_fields.items() if field.is_required() and name not in values}
    for name in absent:
        vars(made).pop(name, None)
    return made


@lru_cache(maxsize=4096)
def _adapter(model: type[Parameters], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind)
