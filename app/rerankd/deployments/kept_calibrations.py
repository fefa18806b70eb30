"""Calibrations that `rerankd eval` fitted, kept in the state folder by model file.

A calibration holds for a file and the prompt it is asked with, on every machine; where one of them
changes, the model's own scores are used again.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from rerankd.calibration import Calibration
from rerankd.deployments.applied_tuning import file_head
from rerankd.deployments.identity import readout_of
from rerankd.deployments.target import Target
from rerankd.errors import StateError
from rerankd.lru import digest_of
from rerankd.settings import Settings, state_folder
from rerankd.store.private_files import make_private_folder, write_private_file

logger = logging.getLogger(__name__)

CALIBRATIONS_FILE = "calibrations.json"


def find_calibration(target: Target) -> Calibration | None:
    """Return what was kept for a model, None where nothing was or its settings turn it off."""
    if target.settings.calibration == "off":
        return None
    found = _read_calibrations(_calibrations_file(target.settings))
    return found.get(_calibration_key(target)) if found else None


def keep_calibration(target: Target, calibration: Calibration) -> None:
    """Keep a calibration in place of an earlier one. Raises StateError."""
    file = _calibrations_file(target.settings)
    found = _read_calibrations(file) | {_calibration_key(target): calibration}
    try:
        make_private_folder(file.parent)
        write_private_file(file, msgspec.json.format(msgspec.json.encode(found), indent=1))
    except OSError as error:
        raise StateError(f"cannot store the calibration in {file}: {error.strerror}") from error


def _calibration_key(target: Target) -> str:
    header = target.header
    readout = repr(tuple(readout_of(target)))
    return digest_of(file_head(header.path), str(header.file_bytes), readout).hex()


def _calibrations_file(settings: Settings) -> Path:
    return state_folder(settings) / CALIBRATIONS_FILE


def _read_calibrations(file: Path) -> dict[str, Calibration]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Calibration])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        logger.warning("cannot read calibrations from %s: %s", file, error)
        return {}
