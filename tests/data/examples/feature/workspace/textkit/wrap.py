"""Wrapping of text."""


def wrap(text: str, width: int) -> list[str]:
    """Greedy line breaking on blanks; a word longer than the width stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
