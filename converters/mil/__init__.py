"""Executes saved Core ML programs (`.mlpackage`) anywhere, for parity.

    package = open_package(Path("model.mlpackage"))
    outputs = package.main.run({"image": array})

Strict: an unknown operation, argument or dtype and a result that is not of its declared type
are errors. What it shows is that the program computes the right numbers by the documented
meaning of its operations; not that Core ML's compiler accepts it, nor how fast it is.
Reads packages with the classes in coremltools' files (see `messages`), without importing it.
"""

from converters.mil.package import Function, Package, open_package
from converters.mil.types import TensorType

__all__ = ["Function", "Package", "TensorType", "open_package"]
