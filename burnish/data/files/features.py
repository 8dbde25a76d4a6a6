"""What the metadata of `datasets` says of a column: the names of its labels, and which values are JSON.

Features are nested maps as in `Features.to_dict()`: `{"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}`.
They are in the metadata of Arrow and parquet files, in `dataset_info.json`, and as YAML in a README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from burnish.visible import parse_json

Features = Mapping[str, Any]
Convert = Callable[[Any], Any]
METADATA_KEY = b"huggingface"
"""Of a schema's metadata."""


def features_of_schema(metadata: Mapping[bytes, bytes] | None) -> Features:
    """The features in the metadata of an Arrow schema; empty if there are none."""
    try:
        found = parse_json((metadata or {}).get(METADATA_KEY, b"{}"))["info"]["features"]
    except (ValueError, LookupError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def features_of_yaml(columns: Any) -> Features:
    """The features that the `dataset_info` of a README.md lists; empty if they are not as `datasets` writes them."""
    return _struct_of_yaml(columns) if isinstance(columns, list) else {}


def _struct_of_yaml(fields: Sequence[Any]) -> dict[str, Any]:
    named = [field for field in fields if isinstance(field, dict) and "name" in field]
    return {str(field["name"]): _of_yaml({key: field[key] for key in field if key != "name"}) for field in named}


def _of_yaml(feature: Any) -> Any:
    if isinstance(feature, list):
        return _struct_of_yaml(feature)
    if not isinstance(feature, dict):
        return {"dtype": feature, "_type": "Value"}
    if "class_label" in feature:
        return {"names": _names(feature["class_label"]), "_type": "ClassLabel"}
    for key in ("sequence", "list", "large_list"):
        if key in feature:
            return {"feature": _of_yaml(feature[key]), "_type": "List"}
    inner = feature.get("struct", feature.get("dtype"))
    return _of_yaml(inner)


def _names(class_label: Any) -> list[str]:
    names = class_label.get("names") if isinstance(class_label, dict) else class_label
    if isinstance(names, dict):
        return [str(names[key]) for key in sorted(names, key=int)] if all(map(_is_number, names)) else []
    return [str(name) for name in names] if isinstance(names, list) else []


def _is_number(value: Any) -> bool:
    return str(value).isdecimal()


def converters(features: Features) -> dict[str, Convert]:
    """For each column whose values mean something else than they are, what converts a value; the others are left."""
    found = {column: _converter(feature) for column, feature in features.items()}
    return {column: convert for column, convert in found.items() if convert is not None}


def named_columns(features: Features) -> list[str]:
    """The columns whose labels have names."""
    return [column for column, feature in features.items() if _has_names(feature)]


def _has_names(feature: Any) -> bool:
    if isinstance(feature, dict):
        return feature.get("_type") == "ClassLabel" or any(map(_has_names, feature.values()))
    return isinstance(feature, list) and any(map(_has_names, feature))


def _converter(feature: Any) -> Convert | None:
    if isinstance(feature, list):
        return _in_list(_converter(feature[0])) if feature else None
    if not isinstance(feature, dict):
        return None
    kind = feature.get("_type")
    if kind == "ClassLabel":
        return _naming(feature.get("names"))
    if kind == "Json":
        return _parsed
    if kind in ("List", "LargeList", "Sequence"):
        return _in_list(_converter(feature.get("feature")))
    return None if isinstance(kind, str) else _in_struct(converters(feature))


def _naming(names: Any) -> Convert | None:
    if not isinstance(names, list) or not names:
        return None

    def named(value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number and not (isinstance(value, str) and value.strip().isdecimal()):
            return value
        return names[int(value)] if 0 <= int(value) < len(names) else value

    return named


def _parsed(value: Any) -> Any:
    try:
        return parse_json(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _in_list(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None

    def converted(value: Any) -> Any:
        # a sequence of structs is stored as a struct of lists
        return [convert(item) for item in value] if isinstance(value, list) else convert(value)

    return converted


def _in_struct(inside: Mapping[str, Convert]) -> Convert | None:
    if not inside:
        return None

    def converted(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: _each(inside[key], item) if key in inside and item is not None else item for key, item in value.items()
        }

    return converted


def _each(convert: Convert, value: Any) -> Any:
    return [convert(item) for item in value] if isinstance(value, list) else convert(value)
