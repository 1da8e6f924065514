"""The report page in a real browser, from a file: sorting, filters, enlarging, narrow screens, no error."""

import shutil

import numpy as np
import pytest

from ensemble_ad.report import PictureRow, RunReport, write_report

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
KINDS = ("good", "logical_anomalies", "structural_anomalies")
DEFECTS = {"good": (), "logical_anomalies": ("missing_hole",), "structural_anomalies": ("scratch",)}
PICTURES = 12

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver (chromium-driver)"),
]


def rows():
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        kind = KINDS[number % 3]
        truth = np.zeros((48, 64), bool)
        truth[8:20, 8:20] = kind != "good"
        image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        maps = {name: rng.random((12, 16)) for name in ("PatchCore", "SimpleNet", "fused")}
        yield PictureRow(f"{number:03}", kind, DEFECTS[kind], float(rng.normal()), image, truth, maps)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    types = {"logical_anomalies": 0.7, "structural_anomalies": None, "mean": 0.7}
    report = RunReport(
        title="A run with a rather long title, as they happen to be",
        class_name="flat_connector",
        result={
            "image_auroc": types,
            "au_spro": dict.fromkeys(("0.01", "0.05", "0.1", "0.3", "1.0"), types),
            "per_defect": {"b": {"au_pr": 0.9}, "a": {"au_pr": 0.1}, "gap": {"au_pr": None}},
        },
        curves={"logical_anomalies": (np.linspace(0, 1, 20), np.linspace(0, 1, 20) ** 0.3)},
        scores={"good": [0.1, 0.2], "logical_anomalies": [0.5, 1.0]},
        validation_scores=[0.1, 0.15],
        threshold=0.2,
        scales={"PatchCore": (0.5, 1.0), "SimpleNet": (0.5, 1.0), "fused": (0.5, 1.0)},
        rows=rows,
        experiment_yaml="data: /a/very/long/path/" + "x" * 200 + "\n",
        environment={"PyTorch": "2.14", "CPU": "y" * 150},
        cost={"fit [s]": 3.0},
        notes=["z" * 150],
        command="ensemble-ad run --data " + "w" * 150,
    )
    return write_report(report, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    resize(browser, 1280)
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def resize(browser, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def column(browser, number, table="#pictures"):
    """The values of a column of a table, in the order and of the rows that show."""
    script = """
        const rows = [...document.querySelector(arguments[0]).tBodies[0].rows].filter((row) => !row.hidden);
        return rows.map((row) => row.cells[arguments[1]].dataset.value ?? row.cells[arguments[1]].textContent.trim());
    """
    return browser.execute_script(script, table, number)


def choose(browser, selector, value):
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("css selector", selector)).select_by_value(value)


def test_every_picture_loads(opened):
    loaded = opened.execute_script(
        "return [...document.images].filter((image) => image.src).map((image) => image.complete && image.naturalWidth)"
    )
    assert len(loaded) == PICTURES * 4 + PICTURES * 2 // 3 + 1
    assert all(loaded)


def test_pictures_stand_in_the_given_order_at_first(opened):
    assert [name.split("/")[1] for name in column(opened, 0)] == [f"{number:03}" for number in range(PICTURES)]


def test_a_heading_sorts_up_then_down_and_says_so(opened):
    heading = opened.find_element("css selector", "#pictures thead th:nth-child(2)")
    expected = sorted(map(float, column(opened, 1)))
    heading.find_element("css selector", "button").click()
    assert list(map(float, column(opened, 1))) == expected
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.find_element("css selector", "button").click()
    assert list(map(float, column(opened, 1))) == expected[::-1]
    assert heading.get_attribute("aria-sort") == "descending"


def test_order_list_sorts_and_goes_back_to_worst_first(opened):
    first = column(opened, 0)
    choose(opened, "#order", "1 descending")
    assert list(map(float, column(opened, 1))) == sorted(map(float, column(opened, 1)), reverse=True)
    choose(opened, "#order", "")
    assert column(opened, 0) == first


def test_gaps_stay_last_in_either_direction(opened):
    table = "[aria-label='By defect'] table"
    button = opened.find_element("css selector", f"{table} thead th:nth-child(2) button")
    button.click()
    assert column(opened, 1, table) == ["0.1", "0.9", ""]
    button.click()
    assert column(opened, 1, table) == ["0.9", "0.1", ""]


@pytest.mark.parametrize(
    ("selector", "value"),
    [("[data-filter=kind]", "logical_anomalies"), ("[data-filter=defects]", "missing_hole")],
)
def test_filters_by_type_and_defect_leave_what_was_asked_for(opened, selector, value):
    choose(opened, selector, value)
    assert [name.split("/")[0] for name in column(opened, 0)] == ["logical_anomalies"] * (PICTURES // 3)
    assert opened.find_element("id", "count").text == f"{PICTURES // 3} of {PICTURES} pictures"


def test_filters_act_together_and_can_be_taken_back(opened):
    choose(opened, "[data-filter=kind]", "good")
    choose(opened, "[data-filter=verdict]", "false alarm")
    shown = column(opened, 0)
    assert 0 < len(shown) < PICTURES // 3
    assert set(column(opened, 2)) == {"false alarm"}
    opened.find_element("id", "search").send_keys("nothing is called this")
    assert column(opened, 0) == []
    opened.find_element("id", "reset").click()
    assert len(column(opened, 0)) == PICTURES


@pytest.mark.parametrize(
    ("text", "expected"), [("007", ["logical_anomalies/007"]), ("SCRATCH", None), ("structural an", None)]
)
def test_search_looks_into_id_type_and_defect(opened, text, expected):
    opened.find_element("id", "search").send_keys(text)
    structural = [f"structural_anomalies/{number:03}" for number in range(2, PICTURES, 3)]
    assert column(opened, 0) == (expected or structural)


def test_an_image_opens_large_and_arrow_keys_move_on(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys):
        ActionChains(opened).send_keys(*keys).perform()
        return opened.execute_script("return document.querySelector('#viewer img').alt")

    shot = opened.find_element("css selector", "#pictures .shot")
    shot.click()
    viewer = opened.find_element("id", "viewer")
    assert viewer.is_displayed()
    assert viewer.find_element("css selector", "img").size["height"] > shot.size["height"]
    assert press(Keys.ARROW_DOWN) == "Logical anomalies 001, input"
    assert press(Keys.ARROW_RIGHT) == "Logical anomalies 001, ground truth"
    assert press(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_LEFT) == "Good 000, input"
    press(Keys.ESCAPE)
    assert not viewer.is_displayed()


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_page_never_scrolls_sideways(opened, width):
    resize(opened, width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    opened.execute_script("document.querySelector('details').open = true")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark(opened, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    pairs = [("--ink", "--paper"), ("--muted", "--paper"), ("--muted", "--card"), ("--accent", "--paper")]
    pairs += [("--bad-ink", "--bad"), ("--warn-ink", "--warn"), ("--fine-ink", "--fine"), ("--ink", "--calm")]
    script = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()"
    for front, back in pairs:
        first, second = (luminance(opened.execute_script(script, name)) for name in (front, back))
        contrast = (max(first, second) + 0.05) / (min(first, second) + 0.05)
        assert contrast >= 4.5, (front, back)


def luminance(colour):
    """Relative luminance by WCAG 2 of a colour such as #1d1b20."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
