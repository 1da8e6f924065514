"""A page in Markdown as one HTML file: tables and figures are in it, and nothing that it quotes becomes markup."""

import base64

import pytest

from ensemble_ad.report.document import write_document

PAGE = """# Which <b>one</b>

| member | value |
|---|---:|
| a | 0.5 |

![a curve](figures/curve.svg)
"""


def test_tables_and_figures_are_in_the_file_and_markup_is_text(tmp_path):
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "curve.svg").write_bytes(drawing)
    write_document(PAGE, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<title>Which &lt;b&gt;one&lt;/b&gt;</title>" in page
    assert "<h1>Which &lt;b&gt;one&lt;/b&gt;</h1>" in page
    assert '<td style="text-align:right">0.5</td>' in page
    assert f'alt="a curve" src="data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"' in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_missing_figure_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"curve\.svg"):
        write_document(PAGE, tmp_path / "index.html")
