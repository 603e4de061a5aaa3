"""A run's page in a real browser. The README's picture, of a run of the sample, is made by

make run && .venv/bin/python -m tests.browser build/run/report.html docs/page.png
"""

import pytest

from cascade.report.page import build
from tests import browser, pages
from tests.cascade.report.test_page import ATTACK
from tests.conftest import set_cell, write_folder

pytestmark = pytest.mark.skipif(
    browser.PROGRAM is None, reason=f"no browser: none of {', '.join(browser.NAMES)}; apt-get install chromium"
)
ALL = ["20_A", "20_B", "20_D", "21_B", "21_C", "21_D", "22_A", "22_B", "22_C"]


@pytest.fixture(scope="module")
def tab():
    with browser.browser() as tab:
        yield tab
        assert tab.said == []  # by all tests together: no error, no warning, no refused request
        assert {address.rpartition("/")[2] for address in tab.asked} <= {"report.html", "data:,"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("page") / "data")
    set_cell(folder / "test.csv", 1, "SubjectName", "Ratio & <b>")
    set_cell(folder / "misconception_mapping.csv", 23, "MisconceptionName", "Mixes Up Signs")
    return build.write(pages.small(folder))


@pytest.fixture
def small(page, tab):
    tab.open(page)
    return tab


def shown(tab):
    return tab.run("[...document.querySelectorAll('article')].map(card => card.dataset.query)")


def choose(tab, **values):
    """Sets filters as a person does: the page hears of it."""
    for name, value in values.items():
        tab.run(f"""(() => {{ const field = document.getElementById({name!r}); field.value = {value!r};
            if (field.value !== {value!r}) throw new Error("no such choice: " + {value!r});
            field.dispatchEvent(new Event("input", {{bubbles: true}})); }})()""")


def test_it_renders_the_worst_query_first(small):
    assert small.run("[...document.querySelectorAll('section')].map(each => each.id)") == [
        "times", "moves", "scores", "agreement", "queries",
    ]  # fmt: skip
    # By the ensemble's rank of the label: absent, 20, 12, 4, then those at 2, at 1, and those without a label.
    assert shown(small) == ["22_B", "20_D", "21_D", "21_B", "20_B", "22_C", "20_A", "21_C", "22_A"]
    assert small.run("document.getElementById('count').value") == "9 of 9 queries"
    assert small.run("document.getElementById('more').checkVisibility()") is False
    columns = "[...document.querySelectorAll('[data-query=\"20_D\"] h3')].map(head => head.innerText.split(/\\s+/))"
    assert small.run(columns) == [["r1", "rank", "9"], ["ce", "rank", "10"], ["ensemble", "rank", "20"]]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"label": "seen"}, ["20_A", "21_D", "22_C"]),
        ({"label": "unseen"}, ["20_B", "20_D", "21_B", "22_B"]),
        ({"label": "none"}, ["21_C", "22_A"]),
        ({"group": "Ratio & <b>"}, ["20_A", "20_B", "20_D"]),
        ({"text": "signs MIXES"}, ["21_B"]),
        ({"text": r"\frac{1}{21}"}, ["21_B", "21_C", "21_D"]),
        ({"text": "nowhere"}, []),
        ({"ranking": "0", "rank": "4"}, ["20_D", "21_D", "22_B"]),
        ({"ranking": "1", "rank": "4"}, ["20_D", "21_B", "21_D", "22_B"]),
        ({"ranking": "1", "condition": "within", "rank": "5"}, ["20_A", "20_B", "21_B", "22_C"]),
        ({"ranking": "1", "condition": "best"}, ["20_B", "22_C"]),
        ({"ranking": "0", "condition": "differs"}, []),
        ({"ranking": "1", "condition": "differs"}, ["20_B"]),
        ({"ranking": "0", "rank": "4", "label": "seen", "text": "21_"}, ["21_D"]),
    ],
)
def test_each_filter_leaves_the_queries_it_names(small, filters, wanted):
    choose(small, **filters)
    assert sorted(shown(small)) == wanted
    assert small.run("document.getElementById('count').value") == f"{len(wanted)} of 9 queries"


@pytest.mark.parametrize(
    ("order", "wanted"), [("best", ["20_A", "20_B", "22_C"]), ("apart", ["20_B"]), ("test", ["20_A", "20_B", "20_D"])]
)
def test_the_order_can_be_chosen(small, order, wanted):
    choose(small, order=order)
    assert shown(small)[: len(wanted)] == wanted
    assert sorted(shown(small)) == ALL


def test_formulas_are_set_by_the_browser(small):
    places = """[...document.querySelector("article mfrac").children].map(part => {
        const box = part.getBoundingClientRect(); return [box.top, box.height, box.width]; })"""
    (top, height, width), (below, *_) = small.run(places)
    assert height > 4
    assert width > 4
    assert below >= top + height  # the denominator under the numerator
    assert "\\frac" not in small.run("document.body.innerText")


def test_hostile_text_is_shown_and_does_nothing(folder, tab):
    for column in ("QuestionText", "AnswerAText", "AnswerBText", "SubjectName", "ConstructName"):
        set_cell(folder / "test.csv", 1, column, ATTACK)
    set_cell(
        folder / "test.csv",
        2,
        "QuestionText",
        r"\( \text{&lt;img src=x onerror=window.hacked=3&gt;} \) \(\href{x}{y}\)",
    )
    set_cell(folder / "misconception_mapping.csv", 1, "MisconceptionName", ATTACK)
    tab.open(build.write(pages.small(folder)))
    assert len(shown(tab)) == 9
    assert tab.run("typeof window.hacked") == "undefined"
    assert ATTACK in tab.run("document.querySelector('[data-query=\"20_A\"] .question').innerText")
    assert ATTACK in tab.run("document.querySelector('[data-query=\"20_A\"] li').innerText")
    assert tab.run("document.querySelectorAll('article img, article script, article [href]').length") == 0


def test_without_labels_candidates_can_still_be_searched(folder, tab):
    (folder / "test_labels.csv").unlink()
    tab.open(build.write(pages.small(folder)))
    assert sorted(shown(tab)) == ALL
    choose(tab, ranking="1", condition="differs")
    assert shown(tab) == ["20_B"]
    choose(tab, ranking="", text="20_d")
    assert shown(tab) == ["20_D"]
    assert "rank" not in tab.run("document.querySelector('article').innerText").replace("not ranked by it", "")


def test_a_long_list_is_shown_by_and_by(tmp_path, tab):
    tab.open(build.write(pages.sample(tmp_path)))
    assert tab.run("document.getElementById('count').value") == "240 of 240 queries"
    assert len(shown(tab)) == 50
    tab.run("document.getElementById('more').click()")
    assert len(set(shown(tab))) == 100
    choose(tab, group=tab.run("data.queries[0].group"))
    assert tab.run("document.getElementById('more').checkVisibility()") is False
    assert 0 < len(shown(tab)) <= 50


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_are_readable_and_a_telephone_is_wide_enough(page, tab, dark):
    tab.open(page, dark=dark, width=400)
    luminances = tab.run("""["body", "article .about", ".legend", ".beside .score", ".axis span"].map(name => {
        const style = getComputedStyle(document.querySelector(name));
        const ground = getComputedStyle(document.body).backgroundColor;
        return [style.color, ground].map(colour => {
            const [r, g, b] = colour.match(/\\d+/g).map(part => part / 255)
                .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; }); })""")
    for text, ground in luminances:
        assert (ground < 0.1) == dark
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    assert tab.run("document.documentElement.scrollWidth") <= 400
