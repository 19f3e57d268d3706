"""An agent's notes: write them, ask across them, change them, forget one.

Run it as it stands: python examples/remember.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hoptrail import Memory

NOTES = [
    {"id": "n1", "title": "Harbour project", "text": "The Harbour project is led by Ines Prado."},
    {"id": "n2", "title": "Ines Prado", "text": "Ines Prado works from the Porto office."},
    {"id": "n3", "title": "Porto office", "text": "The Porto office closes at six."},
    {"id": "n4", "title": "Lighthouse project", "text": "The Lighthouse project ended in spring."},
]


def main() -> None:
    """Print what is recalled before and after the notes change."""
    me = ("team", "ann")
    question = "From which office does the leader of the Harbour project work?"
    with TemporaryDirectory() as folder, Memory(Path(folder) / "notes.db") as memory:
        memory.add(NOTES, namespace=me)
        recall = memory.recall(question, k=2, namespace=me)
        print(question)
        for hop in recall.trails[0].hops:
            print(
                f"  {hop.probability:4.0%}  {memory.get(hop.id, me).text}  [{hop.link or 'search'}]"
            )

        memory.update("n2", text="Ines Prado works from the Lisbon office.", namespace=me)
        memory.delete("n4", namespace=me)
        again = memory.recall(question, k=2, namespace=me)
        print("after a change:", "; ".join(passage.text for passage in again.passages))
        print("in another namespace:", memory.recall(question, namespace=("team", "bob")).passages)


if __name__ == "__main__":
    main()
