"""Where in a document's text something stands: the line of a path, for sentences about it.

Pure. A path is keys and places from the document's root, such as `("rulesets", 3, "event")`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

Path = tuple[str | int, ...]
_STEP = re.compile(r"\.([\w*]+)|\[(\d+)\]")
MAX_NODES = 200_000


class Places:
    """The lines of a document's parts; text that is no YAML has none."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError:
            node = None
        if node is not None:
            self._walk(node, ())

    def _walk(self, node: yaml.Node, path: Path) -> None:
        if len(self._lines) > MAX_NODES:
            return
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inside = (*path, str(key.value))
                self._lines.setdefault(inside, key.start_mark.line + 1)
                self._walk(value, inside)
        elif isinstance(node, yaml.SequenceNode):
            for place, value in enumerate(node.value):
                self._walk(value, (*path, place))

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of a path, or of the nearest part around it that is known; at least 1."""
        parts = tuple(path)
        while parts and parts not in self._lines:
            parts = parts[:-1]
        return self._lines.get(parts, 1)


def path_of(pointer: str) -> Path:
    """Read a path as errors write it, such as `$.rulesets[3].event`."""
    found = _STEP.findall(pointer)
    return tuple(name or int(place) for name, place in found)
