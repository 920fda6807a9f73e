"""TensorBoard event files, written without any package: three messages of a stable format.

A file is a sequence of records (length, its checksum, data, its checksum), and the data of each is
an `Event` in the protocol buffers' encoding: TensorFlow's core/util/event.proto and
core/framework/summary.proto.
"""

import os
import struct
import time
from pathlib import Path

import numpy as np


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # CRC-32C (Castagnoli), reflected
        table.append(byte)
    return tuple(table)


_TABLE = _crc_table()


def _checksum(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)  # "masked"


def _record(data):
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _bytes(field, data):
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _double(field, value):
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _event(step, payload):
    return _record(_double(1, time.time()) + _varint(2 << 3) + _varint(step) + payload)


def _scalar(value):
    return _varint(2 << 3 | 5) + struct.pack("<f", value)  # Summary.Value.simple_value


def _histogram(values):
    counts, edges = np.histogram(values, bins=min(30, len(values)))
    numbers = (values.min(), values.max(), len(values), values.sum(), (values**2).sum())
    message = b"".join(_double(field, number) for field, number in enumerate(numbers, start=1))
    packed = [struct.pack(f"<{len(a)}d", *a) for a in (edges[1:], counts)]
    return _bytes(5, message + _bytes(6, packed[0]) + _bytes(7, packed[1]))  # Summary.Value.histo


class EventFile:
    """A new event file in a folder; every event is on disk when `add` returns."""

    def __init__(self, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard finds files by the word "tfevents"
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}.lipkit"
        self._write(_event(0, _bytes(3, b"brain.Event:2")))

    def add(self, tag, step, values):
        """A scalar, or a histogram of a finite array (n,)."""
        value = _histogram(values) if np.ndim(values) else _scalar(float(values))
        self._write(_event(step, _bytes(5, _bytes(1, _bytes(1, tag.encode()) + value))))

    def _write(self, data):
        with self.path.open("ab") as file:
            file.write(data)
