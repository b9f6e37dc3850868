"""Tables of results in the documents, each between two markers of its name."""


def markdown(header, rows):
    """A table of strings."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put(page, name, table):
    """Puts a table between the markers of that name.

    Args:
        page: ``pathlib.Path`` of a document.
        name: as in ``<!-- NAME begin -->``.
        table: text.

    Returns:
        bool, whether the document has such markers.
    """
    text = page.read_text()
    begin, end = (f"<!-- {name} {edge} -->" for edge in ("begin", "end"))
    if begin not in text:
        return False
    before, rest = text.split(begin)
    page.write_text(f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}")
    return True
