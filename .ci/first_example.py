"""Run the first Python example of a Markdown file as a doctest."""

import doctest
import re
import sys
from pathlib import Path

import sklearn_ae

checkout = Path(__file__).resolve().parents[1]
if Path(sklearn_ae.__file__).is_relative_to(checkout / "sklearn_ae"):
    sys.exit("sklearn_ae comes from the checkout, not from the wheel")
path = Path(sys.argv[1])
block = re.search(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.M | re.S)
if block is None:
    sys.exit(f"{path}: no block of Python")
flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
example = doctest.DocTestParser().get_doctest(block[1], {}, path.name, str(path), 0)
failed, tried = doctest.DocTestRunner(optionflags=flags).run(example)
print(f"sklearn-ae {sklearn_ae.__version__}: {tried} lines run, {failed} failed")
sys.exit(failed > 0 or tried == 0)
