"""`python -m tests.documents` writes the generated sections of all pages."""

from tests.documents.generators import GENERATORS
from tests.documents.sections import filled, pages


def main() -> None:
    """Write every page whose generated sections changed."""
    for page in pages():
        text = page.read_text()
        new = filled(text, GENERATORS)
        if new != text:
            page.write_text(new)
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
