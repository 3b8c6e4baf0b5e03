"""The pictures of the README: what a terminal showed, as a page."""

from docs.make.pictures import as_html


def test_a_page_has_what_the_terminal_showed():
    page = as_html("$ predict a<b\n\x1b[31m\x1b[1mFAKE\x1b[0m  1 %\n")
    assert "$ predict a&lt;b" in page and "\x1b" not in page
    (styled,) = [line for line in page.splitlines() if "FAKE" in line]
    assert '<span class="r1">FAKE</span>  1 %' in styled
    assert ".r1 {color: #f4005f; text-decoration-color: #f4005f; font-weight: bold}" in page
