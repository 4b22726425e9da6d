from invoice import Line, total_cents


def test_an_empty_invoice_costs_nothing():
    assert total_cents([]) == 0


def test_lines_add_up():
    assert total_cents([Line(250), Line(100, quantity=3)]) == 550
