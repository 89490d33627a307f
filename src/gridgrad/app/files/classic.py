"""How long a NetCDF 3 file must be: its library reads zeros where the end of one is missing.

After "The NetCDF Classic Format Specification": all numbers are big-endian; a name or a list of values is
padded to 4 bytes; the versions 1, 2 and 5 differ in the width of counts and of offsets.
"""

from pathlib import Path
from typing import IO

MAGIC = b"CDF"
_WIDTH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a value, by the number of its type."""


def missing_bytes(path: Path) -> int:
    """How many bytes are missing at the end of a NetCDF 3 file; 0 for a whole one, and for other files."""
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != MAGIC or magic[3:] not in (b"\1", b"\2", b"\5"):
            return 0
        end = _Header(file, version=magic[3]).end()
    return max(0, end - path.stat().st_size)


class _Header:
    def __init__(self, file: IO[bytes], version: int) -> None:
        self.file = file
        self.count = 8 if version == 5 else 4
        self.offset = 4 if version == 1 else 8

    def number(self, width: int = 4) -> int:
        data = self.file.read(width)
        if len(data) < width:
            raise ValueError("the header is cut off")
        return int.from_bytes(data, "big")

    def skip(self, length: int) -> None:
        """Pass over so many bytes and their padding."""
        self.file.seek(length + -length % 4, 1)

    def attributes(self) -> None:
        for _ in range(self.list()):
            self.skip(self.number(self.count))
            width = _WIDTH[self.number()]
            self.skip(width * self.number(self.count))

    def list(self) -> int:
        """The length of a list; an absent one has none."""
        self.number()
        return self.number(self.count)

    def end(self) -> int:
        """Where the last sample ends.

        Dims of length 0 are the one that grows: variables that have it take turns, a record of each, and a
        record is padded unless there is only one such variable.
        """
        records = self.number(self.count)
        lengths = []
        for _ in range(self.list()):
            self.skip(self.number(self.count))
            lengths.append(self.number(self.count))
        self.attributes()
        ends, sizes, begins = [0], [], []
        for _ in range(self.list()):
            self.skip(self.number(self.count))
            shape = [lengths[self.number(self.count)] for _ in range(self.number(self.count))]
            self.attributes()
            size = _WIDTH[self.number()]
            self.number(self.count)
            begin = self.number(self.offset)
            grows = bool(shape) and not shape[0]
            for length in shape[1:] if grows else shape:
                size *= length
            if grows:
                sizes.append(size)
                begins.append(begin)
            else:
                ends.append(begin + size)
        if records == 2 ** (8 * self.count) - 1:
            # A file that was written as a stream does not say how long it is.
            records = 0
        if sizes and records:
            step = sizes[0] if len(sizes) == 1 else sum(size + -size % 4 for size in sizes)
            ends += [
                begin + (records - 1) * step + size
                for begin, size in zip(begins, sizes, strict=True)
            ]
        return max(ends)
