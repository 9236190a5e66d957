"""How fast, and in how much memory, a large table is read: `python -m benchmarks.reading [ROWS]`.

Writes a CSV of about 1 KB a row (1,000,000 rows: 1 GB) and lets a process of its own stream it, and another
read all of it. One line of JSON each: seconds, megabytes a second, and the most memory that the process took.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {
    "stream": "n = sum(1 for _ in stream(path, 'text', 'label'))",
    "read": "n = len(read(path, 'text', 'label').examples)",
    "polars, the table alone": "import polars; n = polars.read_csv(path, infer_schema=False).height",
}
_CODE = """
import json, resource, sys, time
from azubi.data.readers.reading import read, stream
path = sys.argv[1]
begun = time.perf_counter()
{way}
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({{"rows": n, "seconds": round(time.perf_counter() - begun, 1), "peak_mb": used // 10**6}}))
"""
_WORDS = ("the", "claim", "of", "hail", "storm", "car", "größe", "Tür", "window,", '"deductible"', "on")


def write(path: Path, rows: int) -> None:
    """A table of rows with a text of about 1 KB and a label."""
    dice = random.Random(0)
    texts = [" ".join(dice.choices(_WORDS, k=170)).replace('"', '""') for _ in range(997)]
    with path.open("w", encoding="utf-8") as out:
        out.write("id,text,label\n")
        for number in range(rows):
            out.write(f'{number},"{number} {texts[number % 997]}",label{number % 50}\n')


def main(rows: int) -> None:
    """Write, measure, tell."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.csv")
        write(path, rows)
        for name, way in WAYS.items():
            code = _CODE.format(way=way)
            done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
            document = json.loads(done.stdout)
            size = path.stat().st_size / 10**6
            print(
                json.dumps(
                    {
                        "way": name,
                        "mb": round(size),
                        **document,
                        "mb_per_s": round(size / document["seconds"]),
                    }
                )
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
