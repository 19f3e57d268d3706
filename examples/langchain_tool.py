"""The recall tool as an agent calls it: a tool call goes in, a message comes out; no model needed.

Run it as it stands: python examples/langchain_tool.py
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from hoptrail import Memory, read_corpus
from hoptrail.integrations import recall_tool


def main() -> None:
    """Print what the model would read, and the trail that it would not see."""
    call = {
        "type": "tool_call",
        "id": "1",
        "name": "recall",
        "args": {"question": "In which town was the naval architect of the Fram born?", "k": 2},
    }
    with (
        TemporaryDirectory() as folder,
        as_file(files("hoptrail") / "demo/corpus.jsonl") as corpus,
        Memory(Path(folder) / "demo.db") as memory,
    ):
        memory.add(read_corpus(corpus))
        message = recall_tool(memory).invoke(call)
        print(message.content)
        trail = message.artifact["trails"][0]
        print(
            "\ntrail:", " -> ".join(hop["id"] for hop in trail["hops"]), "->", trail["stop_reason"]
        )


if __name__ == "__main__":
    main()
