"""The rejects file: rows an import could not use, one JSON object a line, ready to be mended."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from recsys.catalogue.feeds import Record
from recsys.errors import FeedError


class Rejects:
    """Replaces the file of the last import; makes none while nothing is rejected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise FeedError(f"the rejects file {self.path} cannot be replaced: {error}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    def add(self, record: Record, reason: str) -> None:
        """Note why this row was not used."""
        if self._file is None:
            self._file = self._open()
        self.count += 1
        self._file.write(_line({"line": record.line, "reason": reason, "row": record.values}))

    def _open(self) -> TextIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.path.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise FeedError(f"the rejects file {self.path} cannot be written: {error}") from None


def _line(reject: dict[str, object]) -> str:
    """Lone surrogates (bytes that were not UTF-8) are written as the escapes JSON has for them."""
    try:
        return json.dumps(reject, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    except (ValueError, RecursionError):
        return json.dumps(reject | {"row": None}, ensure_ascii=False) + "\n"
