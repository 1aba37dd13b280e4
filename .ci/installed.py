"""Check an installed distribution: every file of the package is in it, and every public name loads from there.

Usage: python .ci/installed.py CHECKOUT OUTSIDE, where the distribution is installed below OUTSIDE and first on the path.
"""

import sys
from pathlib import Path

import lsa_jax

checkout, outside = map(Path, sys.argv[1:])
installed = Path(lsa_jax.__file__).parent
assert outside in installed.parents, f"lsa_jax comes from {installed}"
wanted, found = (
    {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for root in (checkout / "lsa_jax", installed)
)
assert wanted == found, f"differ between checkout and distribution: {sorted(wanted ^ found)}"
for name in lsa_jax.__all__:
    getattr(lsa_jax, name)
print(f"{installed}: lsa_jax {lsa_jax.__version__}, {len(found)} files, {len(lsa_jax.__all__)} public names")
