"""LibreOffice for tests: recalculate a workbook, whatever values its file holds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
 <item oor:path="/org.openoffice.Office.Calc/Formula/Load">
  <prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop>
 </item>
</oor:items>
"""
"""Recalculate on load, always; LibreOffice otherwise believes the values a file holds."""

FILTER = "xlsx:Calc MS Excel 2007 XML"


def recalculated(folder: Path, *workbooks: Path) -> list[Path]:
    """Recalculate copies of workbooks in one go; skip the test where LibreOffice is missing.

    Args:
        folder: For the copies and for a profile of its own; of each file name there can be one.
        *workbooks: The files.

    Returns:
        The copies, in the same order.
    """
    soffice = shutil.which("soffice") or shutil.which("libreoffice")
    if soffice is None:
        pytest.skip("LibreOffice is not installed, so the workbook cannot be recalculated here")
    profile, out = folder / "profile", folder / "recalculated"
    (profile / "user").mkdir(parents=True, exist_ok=True)
    (profile / "user" / "registrymodifications.xcu").write_text(PROFILE, encoding="utf-8")
    command = [soffice, f"-env:UserInstallation={profile.resolve().as_uri()}", "--headless", "--norestore"]
    done = subprocess.run(
        [*command, "--convert-to", FILTER, "--outdir", str(out), *map(str, workbooks)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    copies = [out / workbook.name for workbook in workbooks]
    assert all(copy.is_file() for copy in copies), f"LibreOffice made no file: {done.stdout}{done.stderr}"
    return copies
