"""Make a working tree from the parts of a bundle. This file needs Python and nothing else.

    python unpack.py [FOLDER …] [to=FOLDER]

Parts are looked for beside this file and in every FOLDER. Those that are whole are kept below
``to`` (``papers-to-code`` where you stand), so that they may arrive a few at a time: run it again
with the next ones, and it says which are still missing. With all of them at hand it writes code,
data, packages and checkpoints, and says what to type next.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

MANIFEST, MARK = "manifest.json", ".bundle.json"
"""The file that lists a bundle's parts; the file in a working tree that names its commit."""

DECODE = """
import sys
from pathlib import Path
from common import compressed, decoded
from common.errors import exit_with
exit_with(lambda: decoded.write(Path(sys.argv[2]), compressed.decompress(Path(sys.argv[1]))))
"""


class Refused(Exception):
    """The user's input cannot be used; the message names it and what was expected."""


class Joined(io.RawIOBase):
    """Several files as one readable stream.

    Args:
        paths: the files, in order.
    """

    def __init__(self, paths: list[Path]):
        self._files = (open(path, "rb") for path in paths)
        self._file = next(self._files, None)

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, moving on to the next file at the end of each."""
        while self._file is not None:
            if count := self._file.readinto(buffer):
                return count
            self._file.close()
            self._file = next(self._files, None)
        return 0


def members(tar: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
    """The files of an archive with their names, in order.

    Raises:
        Refused: a name leads outside the archive, or a member is not an ordinary file.
    """
    for member in (m for m in tar if not m.isdir()):
        path = PurePosixPath(member.name)
        content = tar.extractfile(member) if member.isreg() else None
        if (content is None or path.is_absolute() or ".." in path.parts or not path.parts
                or "\\" in member.name or ":" in member.name):
            raise Refused(f"archive member {member.name!r}: expected an ordinary file inside it")
        yield str(path), member, content


def extract(tar: tarfile.TarFile, to: Path) -> None:
    """Write the files of an archive below a folder.

    Raises:
        Refused: see :func:`members`.
    """
    for name, member, content in members(tar):
        file = to / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as f:
            shutil.copyfileobj(content, f)
        file.chmod(0o755 if member.mode & 0o100 else 0o644)


FORMS = {"commit": ('"[0-9a-f]{40,64}"', "40 to 64 hexadecimal digits"),
         "paper": (r'"[A-Za-z_]\w*"', "the name of a paper"),
         "experiments": (r'\[("[^"]*"(, )?)*\]', "a list of names"),
         "python": (r'"3\.[0-9]{1,3}"', "a version such as 3.12"),
         "parts": (r"\[\{.*\}\]", "a list of at least one part"),
         "name": (r'"bundle\.[0-9]{3,9}"', "a name such as bundle.001"),
         "bytes": ("[1-9][0-9]{0,17}", "a whole number above 0"),
         "sha256": ('"[0-9a-f]{64}"', "64 hexadecimal digits")}
"""The values in a manifest: what their JSON looks like, and the same in words."""


def check_manifest(manifest: Any) -> None:
    """Check a manifest by hand, for want of a library; raises ValueError where it is damaged."""
    def check(value: Any, place: str, names: set[str], perhaps: set[str]) -> None:
        if type(value) is not dict or not names <= set(value) <= names | perhaps:
            raise ValueError(f"{place}: {json.dumps(value)[:60]}: expected "
                             f"{', '.join(sorted(names))} and no more")
        for k, v in value.items():
            form, words = FORMS[k]
            if not re.fullmatch(form, json.dumps(v)):
                raise ValueError(f"{place}.{k}: {json.dumps(v)[:60]}: expected {words}")

    check(manifest, "manifest", {"commit", "paper", "experiments", "parts"}, {"python"})
    for k, part in enumerate(manifest["parts"]):
        check(part, f"manifest.parts.{k}", {"name", "bytes", "sha256"}, set())
        if part["name"] in [p["name"] for p in manifest["parts"][:k]]:
            raise ValueError(f"manifest.parts.{k}: {part['name']} is listed twice")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON; raises ValueError where a key is given twice."""
    keys = [k for k, _ in pairs]
    if twice := [k for k in keys if keys.count(k) > 1]:
        raise ValueError(f"{twice[0][:60]!r} is given twice: expected each key once")
    return dict(pairs)


def read_manifest(folders: list[Path]) -> dict[str, Any]:
    """Read the manifest from the first folder that contains one.

    Raises:
        Refused: no folder contains one, or it is damaged.
    """
    for path in (f / MANIFEST for f in folders):
        if path.is_file():
            try:
                manifest = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
                check_manifest(manifest)
            except (OSError, ValueError, RecursionError) as e:
                raise Refused(f"{path} is damaged: {' '.join(str(e).split())[:300]}; expected the "
                              "manifest of a bundle") from e
            return manifest
    raise Refused(f"no {MANIFEST} in {', '.join(map(str, folders))}: expected the folder of a "
                  "bundle")


def gather(parts: list[dict[str, Any]], folders: list[Path], stash: Path) -> list[str]:
    """Copy the intact parts into a folder; returns the names of those still missing."""
    stash.mkdir(parents=True, exist_ok=True)
    missing = []
    for part in parts:
        name = part["name"]
        if is_whole(stash / name, part):
            continue
        for path in (folder / name for folder in folders):
            if is_whole(path, part):
                shutil.copyfile(path, stash / f".{name}")
                os.replace(stash / f".{name}", stash / name)
                break
            if path.is_file():
                print(f"{path} is damaged: expected {part['bytes']:,} bytes of SHA-256 "
                      f"{part['sha256'][:12]}…", file=sys.stderr)
        else:
            missing.append(name)
    return missing


def is_whole(path: Path, part: dict[str, Any]) -> bool:
    """Whether a file has the size and digest that the manifest gives for a part."""
    if not path.is_file() or path.stat().st_size != part["bytes"]:
        return False
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() == part["sha256"]


def check_target(to: Path, commit: str) -> bool:
    """Whether a folder already contains the code of a commit, all of it.

    Raises:
        Refused: the folder contains something else.
    """
    if (to / ".parts" / commit).exists():  # it was interrupted
        return False
    if (to / MARK).is_file():
        try:
            there = str(json.loads((to / MARK).read_text(encoding="utf-8"))["commit"])
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise Refused(f"{to / MARK} is damaged: choose another folder with to=") from e
        if there != commit:
            raise Refused(f"{to} holds commit {there[:10]}, not the bundle's {commit[:10]}: choose "
                          "another folder with to=")
        return True
    if (to / ".git").exists() or (to / "common").exists():
        raise Refused(f"{to} holds a tree that is not of a bundle: choose another folder with to=")
    return False


def make_ready(manifest: dict[str, Any], stash: Path, to: Path) -> None:
    """Write code, packages, checkpoints and data from the parts in ``stash`` into ``to``.

    Raises:
        Refused: the archive is not what was packed, a name in it is taken, or data are damaged.
    """
    payload = stash / "payload"
    shutil.rmtree(payload, ignore_errors=True)
    paths = [stash / part["name"] for part in manifest["parts"]]
    with tarfile.open(fileobj=io.BufferedReader(Joined(paths), 1 << 20), mode="r|") as tar:
        extract(tar, payload)
    if not check_target(to, manifest["commit"]):
        code = to / ".parts" / manifest["commit"]  # what is not in its place yet
        if not code.exists():
            new = stash / "code"
            shutil.rmtree(new, ignore_errors=True)
            with tarfile.open(payload / "code.tar.xz") as tar:
                extract(tar, new)
            if taken := [e.name for e in new.iterdir() if os.path.lexists(to / e.name)]:
                raise Refused(f"{to} already has {min(taken)}: choose another folder with to=")
            os.replace(new, code)
        for entry in code.iterdir():
            os.replace(entry, to / entry.name)
        (to / MARK).write_text(json.dumps({"commit": manifest["commit"]}) + "\n", encoding="utf-8")
        code.rmdir()
    for wheel in sorted((payload / "wheels").glob("*.whl")):
        install(wheel, to / "site")
    for run in sorted((payload / "runs").glob("*/*/*")):
        there = to / run.relative_to(payload)
        if not there.exists():  # an existing run may be further
            there.parent.mkdir(parents=True, exist_ok=True)
            os.replace(run, there)
    for folder in sorted((payload / "data").glob("*")):
        decode(folder, to)
    shutil.rmtree(stash)


def install(wheel: Path, site: Path) -> None:
    """Extract the importable files of a wheel into a folder.

    Raises:
        Refused: a file's name leads outside the folder.
    """
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            parts = PurePosixPath(info.filename).parts
            if parts and parts[0].endswith(".data"):  # programs and headers stay out
                parts = parts[2:] if parts[1:2] in (("purelib",), ("platlib",)) else ()
            if info.is_dir() or not parts:
                continue
            if ".." in parts or PurePosixPath(*parts).is_absolute():
                raise Refused(f"{wheel.name}: {info.filename!r} leads outside the folder")
            file = site.joinpath(*parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.read(info))


def decode(folder: Path, to: Path) -> None:
    """Decode a data set into ``data/`` of the tree, with the tree's own code.

    Raises:
        Refused: it is damaged, or a package for decoding it is missing.
    """
    target = to / "data" / f"{folder.name}.safetensors"
    done = subprocess.run([sys.executable, "-c", DECODE, str(folder), str(target)], cwd=to,
                          env=os.environ | environment(to), capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Refused(f"cannot decode {folder.name}: {last.removeprefix('error: ')}")


def environment(to: Path) -> dict[str, str]:
    """The environment variables that commands in the tree need."""
    paths = [str(to), str(to / "site"), os.environ.get("PYTHONPATH", "")]
    found = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, paths)))}
    return found | ({"PAPERS_DATA": str(to / "data")} if (to / "data").is_dir() else {})


def unpack(folders: list[Path], to: Path) -> int:
    """Gather the parts that have arrived, and build the tree if none is missing.

    Returns:
        0, or 1 while parts are missing.

    Raises:
        Refused: the bundle or the folder cannot be used.
    """
    manifest = read_manifest(folders)
    check_target(to, manifest["commit"])
    here = "{}.{}".format(*sys.version_info)
    if manifest.get("python", here) != here:
        raise Refused(f"the bundle's packages are for Python {manifest['python']}, this is {here}: "
                      f"use that one, or pack with python={here}")
    parts = manifest["parts"]
    stash = to / ".parts" / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    missing = gather(parts, folders, stash)
    if missing:
        print(f"{len(parts) - len(missing)} of {len(parts)} parts are here; still missing: "
              f"{', '.join(missing)}")
        return 1
    make_ready(manifest, stash, to)
    lines = [f"export {k}={shlex.quote(v)}" for k, v in environment(to).items()]
    (to / "environment.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{to} is ready: commit {manifest['commit'][:10]}. Next:\n"
          f"cd {shlex.quote(str(to))} && . ./environment.sh && "
          f"{shlex.quote(sys.executable)} -m common.running reproduce {manifest['paper']} "
          "budget=8m")
    return 0


def main(argv: list[str], beside: Path | None = None) -> int:
    """The command line; see the module's docstring.

    Args:
        argv: its arguments.
        beside: a folder to search first; None: none.

    Raises:
        Refused: an argument, the bundle or the folder cannot be used.
    """
    if {"--help", "-h"} & set(argv):
        print((__doc__ or "").strip())
        return 0
    folders, to = [beside] if beside else [], (default := Path("papers-to-code"))
    for word in argv:
        if word.startswith("to=") and word != "to=" and to is default:
            to = Path(word.removeprefix("to="))
        elif Path(word).is_dir():
            folders.append(Path(word))
        else:
            raise Refused(f"{word}: expected a folder of a bundle, or to=FOLDER once")
    if not folders:
        raise Refused("expected the folder of a bundle")
    try:
        return unpack(folders, to.resolve())
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError) as e:
        raise Refused(f"cannot unpack into {to}: {e}") from e


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent))
    except Refused as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
