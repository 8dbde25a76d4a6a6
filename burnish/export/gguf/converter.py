"""llama.cpp's own programs, in a folder that the user named: they write the layouts that are not written here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.errors import BurnishError, InputError
from burnish.system.shell import quoted

_SCRIPT, _PROGRAM = "convert_hf_to_gguf.py", "llama-quantize"
_BY_SCRIPT = ("f32", "f16", "bf16", "q8_0")
"""Types that the script writes by itself."""
_PLACES = ("", "build/bin", "bin", "build/bin/Release")
"""Where the program is in a folder of llama.cpp."""
_SHOWN_LINES = 4


@dataclass(frozen=True, slots=True)
class Converter:
    """The programs in a folder of llama.cpp."""

    script: Path
    quantizer: Path | None
    """None if it was not built."""

    @classmethod
    def find(cls, folder: Path, types: Sequence[str]) -> Converter:
        """The programs for these types.

        Args:
            folder: of llama.cpp.
            types: of the files, by the names of `FILE_TYPES`.

        Raises:
            InputError: the folder lacks one that they need.
        """
        script = folder / _SCRIPT
        if not script.is_file():
            raise InputError(
                f"`{folder}` is not a folder of llama.cpp",
                f"It has no `{_SCRIPT}`.",
                "Clone https://github.com/ggml-org/llama.cpp, and give its folder with `--llama-cpp`",
            )
        names = [folder / place / f"{_PROGRAM}{suffix}" for place in _PLACES for suffix in ("", ".exe")]
        quantizer = next((path for path in names if path.is_file()), None)
        missing = [kind for kind in types if kind not in _BY_SCRIPT]
        if missing and quantizer is None:
            place = quoted(str(folder))
            raise InputError(
                f"files of the type `{missing[0]}` need llama.cpp's program `{_PROGRAM}`",
                f"It is not in `{folder}`.",
                f"Build it with `cmake -S {place} -B {place}/build && cmake --build {place}/build --target {_PROGRAM}`",
            )
        return cls(script, quantizer)

    def write(self, model: Path, target: Path, kind: str) -> None:
        """Writes a file.

        Args:
            model: folder of transformers.
            target: of the file, which does not exist yet.
            kind: its type.

        Raises:
            BurnishError: the program failed, for example because it does not know the model.
        """
        if kind in _BY_SCRIPT:
            words = [str(model), "--outfile", str(target), "--outtype", kind]
            _run([sys.executable, str(self.script), *words], self.script, target)
            return
        assert self.quantizer is not None, "`find` refuses this"
        exact = target.with_name(f"{target.name}.f32")
        try:
            self.write(model, exact, "f32")
            _run([str(self.quantizer), str(exact), str(target), kind.upper()], self.quantizer, target)
        finally:
            exact.unlink(missing_ok=True)


def _run(words: Sequence[str], program: Path, target: Path) -> None:
    ended = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode == 0 and target.is_file():
        return
    lines = [line.strip() for line in (ended.stderr + ended.stdout).splitlines() if line.strip()]
    raise BurnishError(
        f"llama.cpp's `{program.name}` did not write the file",
        " ".join(lines[-_SHOWN_LINES:]) or f"It ended with {ended.returncode}.",
        "Use a newer llama.cpp, or the model with transformers: `burnish export RUN --to hf`",
    )
