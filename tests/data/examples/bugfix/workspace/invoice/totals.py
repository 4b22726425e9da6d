"""Totals of an invoice, in whole cents."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line: a unit price in cents, how many, and a discount in percent."""

    unit_cents: int
    quantity: int = 1
    discount_percent: int = 0

    def cents(self) -> int:
        """The line's price after its discount, rounded down to a whole cent."""
        gross = self.unit_cents * self.quantity
        return gross - gross * self.discount_percent // 10


def total_cents(lines: list[Line]) -> int:
    """The invoice's total in cents."""
    return sum(line.cents() for line in lines)
