"""Names for Arrow's types that a type checker and the interpreter both accept.

The stubs of pyarrow are generic where the classes are not, and know only some argument kinds of
``pyarrow.compute``, which is why that goes by ``Any`` here.
"""

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

compute: Any = pyarrow.compute

if TYPE_CHECKING:
    Array = pa.Array[Any]
    Chunks = pa.ChunkedArray[Any]
else:
    Array = pa.Array
    Chunks = pa.ChunkedArray

__all__ = ["Array", "Chunks", "compute"]
