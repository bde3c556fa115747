from typing import Any

Model: Any
