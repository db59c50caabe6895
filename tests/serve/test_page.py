"""The page in a real browser: Chromium, driven over a service in this process.

What is shown is compared with what the API answers.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sparseret import Document, Retriever
from sparseret.readers import read_documents

pytest.importorskip("fastapi", reason="fastapi is not installed (sparseret[serve])")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed (sparseret[serve])")
httpx = pytest.importorskip("httpx", reason="httpx is not installed (sparseret[test])")
pytest.importorskip("selenium", reason="selenium is not installed (sparseret[test])")

from selenium.webdriver import Chrome, ChromeOptions  # noqa: E402
from selenium.webdriver.chrome.service import Service as Driver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

from sparseret.serve.app import create_app  # noqa: E402
from sparseret.serve.keys import KeyFile  # noqa: E402
from sparseret.serve.service import Service  # noqa: E402
from sparseret.serve.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "sparseret" / "serve" / "page"
QUERY = "heat transfer in hypersonic flow"
BAD = "<img src=x onerror=\"document.title='hacked'\">"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,900",
)  # fmt: skip
NOTES = [
    Document("n1", "Lift of a wing in a slipstream.", "Wings", {"year": 1954}),
    Document("n2", "Heat transfer to a blunt wing in hypersonic flow.", "Heat", {"year": 1958}),
    Document("n3", "The flutter of panels in supersonic flow.", "Panels", {"year": 1961}),
    Document("n4", "A wing \U0001f680\U0001f6e9, its wing \U00010348, a wing.", "", {"year": 1962}),
]  # fmt: skip


class Letters:
    """A dense encoder without a model: how often each letter stands in a text."""

    name, description, space = "letters", "letters (test)", "letters/1"
    metric: Literal["cosine", "ip"] = "cosine"
    options: Mapping[str, Any] = {}
    dim = 26

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        return self.encode_queries([d if isinstance(d, str) else d.content for d in documents])

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        return np.array([[q.lower().count(a) for a in LETTERS] for q in queries], np.float32)


class Hostile:
    """A sparse encoder of letters, whose terms are HTML."""

    name, description, space = "hostile", f"hostile {BAD}", "hostile/1"
    options: Mapping[str, Any] = {}
    dim, signed = 26, False

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        return csr_array(Letters().encode_documents(documents))

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        return csr_array(Letters().encode_queries(queries))

    def term(self, column: int) -> str:
        return f"{BAD}{LETTERS[column]}"

    def save(self, path: str | Path) -> None:
        raise NotImplementedError


class Busy:
    """An ASGI application that refuses as many searches as it is told to, as if it were busy."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.refusals = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.refusals and scope.get("path", "").endswith("/search"):
            self.refusals -= 1
            headers = [(b"retry-after", b"1"), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "overloaded"}'})
            return
        await self.app(scope, receive, send)


class Site:
    """A service on a port of its own."""

    def __init__(self, service: Service) -> None:
        self.busy = Busy(create_app(service))
        config = uvicorn.Config(self.busy, port=0, log_level="error", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until = time.monotonic() + 20
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        self.client = httpx.Client(base_url=self.url)

    def close(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(20)

    def ask(self, path: str, body: Any = None) -> Any:
        answer = self.client.post(path, json=body) if body else self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cranfield: Path) -> Path:
    root = tmp_path_factory.mktemp("indexes")
    with Retriever.create(root / "cranfield.idx") as retriever:
        retriever.add(record.document for record in read_documents(cranfield))
    with Retriever.create(root / "mixed", {"words": "bm25", "letters": Letters()}) as retriever:
        retriever.add(NOTES)
    with Retriever.create(root / "hostile", Hostile()) as retriever:
        for id in (BAD, BAD * 2):
            retriever.add(
                [Document(id, f"a wing {BAD}", f"title {BAD}", {BAD: BAD, "list": [BAD]})]
            )
    return root


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    encoders: dict[str, Any] = {"letters": Letters(), "hostile": Hostile()}
    made = Site(Service([folder], Settings(), encoders=encoders))
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Driver(executable_path=driver))
    yield chrome
    chrome.quit()


class Browser:
    """The page, as a user sees it."""

    def __init__(self, chromium: Chrome, site: Site) -> None:
        self.chrome = chromium
        self.site = site
        self.expected: set[int] = set()
        """Statuses that a test provokes, which the browser's console tells."""

    def open(self, path: str = "") -> None:
        self.chrome.get("about:blank")
        self.chrome.get(self.site.url + path)

    def one(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Text content, shown or not, of all elements, whatever they are styled as."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        found: list[str] = self.run(script, selector)
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.chrome, 10, 0.02).until(lambda _: condition())

    def wait_for_results(self, title: str | None = None) -> None:
        """Until results are shown, and the first one is called so."""
        first = "#results:not([aria-busy]) article h3"
        self.wait(
            lambda: title in (self.texts(first) or [None])[:1] if title else self.texts(first)
        )

    def press(self, *keys: str) -> None:
        """Keys, on whatever has the focus."""
        for key in keys:
            self.chrome.switch_to.active_element.send_keys(key)

    def focused(self) -> str | None:
        """The id of the document whose result has the focus."""
        told: str | None = self.run("return document.activeElement.dataset.id ?? null")
        return told

    def logged(self, kind: Literal["browser", "performance"]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.chrome.get_log(kind)
        return entries


@pytest.fixture
def browser(chromium: Chrome, site: Site) -> Iterator[Browser]:
    made = Browser(chromium, site)
    for kind in ("browser", "performance"):
        made.logged(kind)
    yield made
    for entry in made.logged("browser"):
        status = re.search(r"status of (\d+)", entry["message"])
        assert status is not None, entry
        assert int(status[1]) in made.expected, entry
    messages = [json.loads(entry["message"])["message"] for entry in made.logged("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert asked
    assert all(url.startswith((made.site.url, "about:")) for url in asked), asked
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def shown(value: float, largest: float | None = None) -> str:
    """A number as the page writes it: four digits of the largest of its column."""
    size = abs(value if largest is None else largest)
    digits = min(8, max(0, 3 - math.floor(math.log10(size)))) if size else 3
    return f"{value:.{digits}f}".replace("-", "\u2212")


def contributions(terms: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of an explanation as the page writes them."""
    largest = {
        key: max(abs(term[key]) for term in terms)
        for key in ("query_weight", "document_weight", "contribution")
    }
    return [[t["term"], *(shown(t[key], most) for key, most in largest.items())] for t in terms]


def rows(browser: Browser, table: str) -> list[list[str]]:
    """Text of the cells of a table's body, without bars."""
    return [
        [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td.number")]
        for row in browser.all(f"{table} tbody tr")
    ]


def test_type_search_explain(browser: Browser) -> None:
    browser.open()
    browser.wait(lambda: "1,400 documents" in browser.one("#results").text)
    assert browser.chrome.switch_to.active_element == browser.one("#query")
    browser.press(QUERY, Keys.ENTER)
    browser.wait_for_results()
    told = browser.site.ask(
        "indexes/cranfield/search", {"query": QUERY, "explain": True, "snippet": 240}
    )["results"]
    assert browser.texts("#results h3") == [each["title"] for each in told]
    most = told[0]["score"]
    assert browser.texts("#results .score") == [shown(each["score"], most) for each in told]
    assert browser.texts("#results .snippet") == [each["snippet"]["text"] for each in told]
    marks = [t["snippet"]["text"][a:b] for t in told for a, b in t["snippet"]["marks"]]
    assert marks
    assert browser.texts("#results mark") == marks
    assert re.match(
        r"10 results of 1,400 documents in [\d.]+ ms, exact$", browser.one("#count").text
    )
    assert browser.chrome.title == f"{QUERY} – cranfield – sparseret"
    terms = browser.site.ask("encode", {"inputs": QUERY, "index": "cranfield"})["texts"][0]["terms"]
    most = terms[0]["value"]
    assert rows(browser, "#query-terms") == [[t["term"], shown(t["value"], most)] for t in terms]

    browser.all("button.explain")[1].click()
    browser.wait(lambda: browser.texts(".panel table"))
    why = told[1]["explanation"]
    assert rows(browser, ".panel table") == contributions(why["terms"])
    assert browser.texts(".panel tfoot td.strong") == [
        shown(why["score"], why["terms"][0]["contribution"])
    ]
    widths = [bar.size["width"] for bar in browser.all(".panel .filled")]
    products = [term["contribution"] for term in why["terms"]]
    assert widths[1] / widths[0] == pytest.approx(products[1] / products[0], rel=0.02)

    browser.one(".panel summary").click()
    browser.wait(lambda: browser.texts(".panel .whole"))
    text = browser.site.ask(f"indexes/cranfield/documents/{told[1]['id']}")["text"]
    assert browser.texts(".panel .whole") == [text]


def test_a_text_longer_than_an_address(browser: Browser) -> None:
    text = "wing " * 1000
    browser.open("#view=encode&index=mixed")
    browser.wait(lambda: browser.one("#text").is_displayed())
    browser.run("document.getElementById('text').value = arguments[0]", text)
    browser.one("#encode-form .primary").click()
    browser.wait(lambda: browser.texts("#encoded table"))
    assert browser.one("#encode-count").text.startswith("1 term ")
    assert browser.one("#text").get_attribute("value") == text
    assert len(browser.chrome.current_url) < 200


def test_options_take_what_was_typed_with_them(browser: Browser) -> None:
    browser.open("#index=mixed&q=wing")
    browser.wait_for_results()
    browser.one("#query").clear()
    browser.one("#query").send_keys("flutter")
    Select(browser.one("#effort")).select_by_value("exact")
    browser.wait_for_results("Panels")
    assert browser.one("#query").get_attribute("value") == "flutter"


def test_what_documents_lack_is_said(browser: Browser) -> None:
    browser.open("#index=mixed&legs=words&q=wing+flutter")
    browser.wait_for_results()
    browser.one("button.explain").click()
    browser.wait(lambda: browser.texts(".panel table"))
    told = browser.site.ask(
        "indexes/mixed/search", {"query": "wing flutter", "legs": ["words"], "explain": True}
    )["results"][0]["explanation"]
    leg = told["legs"][0] if told["legs"] else told
    assert leg["missing"]
    assert browser.texts(".missing") == [f"Not in the document: {', '.join(leg['missing'])}"]


def test_keyboard_alone(browser: Browser) -> None:
    browser.open(f"#index=cranfield&q={QUERY}")
    browser.wait_for_results()
    told = browser.site.ask("indexes/cranfield/search", {"query": QUERY})["results"]
    ids = [each["id"] for each in told]
    browser.press("/")
    assert browser.run("return document.activeElement.id") == "query"
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused() == ids[0]
    browser.press("j", Keys.ARROW_DOWN)
    assert browser.focused() == ids[2]
    browser.press("k")
    assert browser.focused() == ids[1]
    for key in (Keys.ENTER, "e"):
        browser.press(key)
        browser.wait(lambda: browser.texts(".panel:not([hidden]) table"))
        browser.press(Keys.ESCAPE)
        assert browser.all(".panel:not([hidden])") == []
        assert browser.focused() == ids[1]
    browser.press("m")
    browser.wait_for_results(
        browser.site.ask("indexes/cranfield/search", {"like": [ids[1]]})["results"][0]["title"]
    )
    assert browser.one("#like-text").text == f"More like {ids[1]}"
    browser.wait(browser.focused)
    browser.press(Keys.ESCAPE)
    assert browser.run("return document.activeElement.id") == "query"
    browser.press("wing", Keys.ENTER)
    browser.wait_for_results(
        browser.site.ask("indexes/cranfield/search", {"query": "wing"})["results"][0]["title"]
    )
    assert not browser.one("#like").is_displayed()
    browser.press(Keys.ARROW_DOWN, "?")
    assert browser.one("#keys").is_displayed()
    browser.press(Keys.ESCAPE)
    assert not browser.one("#keys").is_displayed()
    ring = browser.run(
        "document.activeElement.blur(); document.querySelector('article').focus();"
        "return getComputedStyle(document.activeElement).outlineStyle"
    )
    assert ring == "solid"


def test_legs_side_by_side(browser: Browser) -> None:
    browser.open("#index=mixed&q=wing+in+flow")
    browser.wait_for_results()
    body = {"query": "wing in flow", "snippet": 240}
    fused = browser.site.ask("indexes/mixed/search", body)["results"]
    assert browser.texts("#results h3") == [each["title"] or each["id"] for each in fused]
    parts = [
        f"{leg} {shown(v, max(map(abs, each['shares'].values())))}"
        for each in fused
        for leg, v in each["shares"].items()
    ]
    assert browser.texts(".shares .pair") == parts

    browser.one("#side").click()
    browser.wait(lambda: len(browser.all(".column")) == 3)
    for name, column in zip(["fused", "words", "letters"], browser.all(".column"), strict=True):
        asked = body if name == "fused" else {**body, "legs": [name]}
        told = browser.site.ask("indexes/mixed/search", asked)["results"]
        ids = [
            each.get_attribute("data-id") for each in column.find_elements(By.TAG_NAME, "article")
        ]
        assert ids == [each["id"] for each in told]
        assert column.accessible_name == name
    assert browser.texts(".column:nth-child(2) footer .pair:nth-child(2)")[0].startswith("fused: ")
    browser.press(Keys.TAB)
    browser.run("document.querySelector('article').focus()")
    browser.press("l", "l")
    assert browser.run("return document.activeElement.closest('.column').ariaLabel") == "letters"
    browser.press("e")
    browser.wait(lambda: "dense vectors have none" in browser.one(".panel:not([hidden])").text)

    Select(browser.one("#fusion")).select_by_value("rrf")
    rrf = browser.site.ask("indexes/mixed/search", {**body, "fusion": {"kind": "rrf"}})["results"]
    scores = [shown(each["score"], rrf[0]["score"]) for each in rrf]
    browser.wait(lambda: browser.texts(".column:first-child .score") == scores)
    browser.one("#weights").send_keys("3, 1", Keys.ENTER)
    fusion = {"kind": "rrf", "weights": [3, 1]}
    told = browser.site.ask("indexes/mixed/search", {**body, "fusion": fusion})["results"]
    scores = [shown(each["score"], told[0]["score"]) for each in told]
    browser.wait(lambda: browser.texts(".column:first-child .score") == scores)

    browser.one("#legs input[value=letters]").click()
    browser.wait(lambda: browser.all(".column") == [] and browser.texts("#results h3"))
    told = browser.site.ask("indexes/mixed/search", {**body, "legs": ["words"]})["results"]
    assert browser.texts("#results h3") == [each["title"] or each["id"] for each in told]


def test_marks_beyond_the_basic_plane(browser: Browser) -> None:
    browser.open("#index=mixed&q=wing&legs=words")
    browser.wait_for_results()
    assert browser.texts("article[data-id=n4] mark") == ["wing", "wing", "wing"]
    assert "\U0001f680\U0001f6e9" in browser.texts("article[data-id=n4] .snippet")[0]


def test_documents_cannot_act(browser: Browser) -> None:
    for address, id in (("q=wing", BAD), (f"like={BAD}", BAD * 2)):
        browser.open(f"#index=hostile&{address}")
        browser.wait_for_results()
        browser.one("button.explain").click()
        browser.wait(lambda: browser.texts(".panel table"))
        browser.one(".panel summary").click()
        browser.wait(lambda: browser.texts(".panel .whole"))
        assert browser.texts("#results h3")[0] == f"title {BAD}"
        assert browser.texts("article .code")[0] == id
        assert BAD in browser.texts("article footer")[0]
        assert browser.texts(".panel tbody th")[0].startswith(BAD)
        assert browser.all("#main img") == []
    browser.open("#index=hostile&view=index")
    browser.wait(lambda: BAD in browser.one("#stats").text)
    browser.open(f"#index={BAD}&q={BAD}&filter={BAD}&k={BAD}")
    browser.wait(lambda: BAD in browser.one("#problem").text)
    assert browser.all("img") == []
    assert "hacked" not in (browser.chrome.title, browser.one("body").text)
    # Were there a hole after all, the policy would still hold.
    script = (
        "try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch (e) { return e.name }"
    )
    assert browser.run(script) == "TypeError"
    assert all("TrustedHTML" in entry["message"] for entry in browser.logged("browser"))


def test_errors_of_the_filter_stand_beside_it(browser: Browser) -> None:
    browser.expected = {422}
    browser.open(f"#index=mixed&q={QUERY}")
    browser.wait_for_results()
    browser.one("#filter").send_keys("year >", Keys.ENTER)
    browser.wait(lambda: browser.one("#filter-error").text)
    answer = browser.site.client.post(
        "indexes/mixed/search", json={"query": QUERY, "filter": "year >"}
    )
    assert browser.texts("#filter-error") == [answer.json()["error"]]
    assert browser.one("#filter").get_attribute("aria-invalid") == "true"
    assert browser.texts("article") == []
    browser.one("#filter").send_keys(" 1960", Keys.ENTER)
    browser.wait_for_results()
    assert not browser.one("#filter-error").is_displayed()
    told = browser.site.ask("indexes/mixed/search", {"query": QUERY, "filter": "year > 1960"})
    assert browser.texts("#results h3") == [e["title"] or e["id"] for e in told["results"]]
    browser.one("#filter").clear()
    browser.one("#filter").send_keys("year > 2000", Keys.ENTER)
    browser.wait(lambda: "Nothing is found that meets the filter" in browser.one("#results").text)
    # What is wrong elsewhere is not said there.
    browser.open("#index=mixed&q=wing&filter=year+>+1&fusion=rrf&weights=1")
    browser.wait(lambda: "1 weights for 2 legs" in browser.one("#problem").text)
    assert not browser.one("#filter-error").is_displayed()


def test_addresses_and_the_back_button(browser: Browser) -> None:
    browser.open("#index=mixed")
    browser.wait(lambda: "4 documents" in browser.one("#results").text)
    for query in ("wing", "flutter"):
        browser.one("#query").clear()
        browser.one("#query").send_keys(query, Keys.ENTER)
        browser.wait(lambda query=query: browser.chrome.title.startswith(query))
        browser.wait_for_results()
    browser.one("#to-encode").click()
    browser.wait(lambda: browser.one("#encode-view").is_displayed())
    browser.chrome.back()
    browser.wait_for_results("Panels")
    browser.chrome.back()
    browser.wait(lambda: browser.one("#query").get_attribute("value") == "wing")
    browser.wait_for_results()
    titles = browser.texts("#results h3")
    address = browser.chrome.current_url
    browser.open(address.removeprefix(browser.site.url))
    browser.wait_for_results()
    assert browser.texts("#results h3") == titles
    assert Select(browser.one("#index")).first_selected_option.text == "mixed"
    Select(browser.one("#index")).select_by_value("cranfield")
    browser.wait(lambda: browser.one("#count").text.startswith("10 results of 1,400"))


def test_statistics_and_encoding(browser: Browser) -> None:
    browser.open("#index=mixed")
    browser.wait(lambda: browser.one("#results").text)
    browser.one("#to-index").click()
    browser.wait(lambda: browser.texts("#stats table"))
    stats = browser.site.ask("indexes/mixed")
    assert browser.texts("#stats dd")[0] == str(stats["documents"])
    legs = [
        [c.text for c in row.find_elements(By.CSS_SELECTOR, "th, td")][:4]
        for row in browser.all("#stats tbody tr")
    ]
    assert legs == [
        [leg["name"], leg["kind"], leg["encoder"], str(leg["nnz"])] for leg in stats["legs"]
    ]

    browser.open("#view=encode&index=cranfield")
    browser.one("#text").send_keys("the lift of a wing, and the wings of a bird")
    browser.one("input[value=document]").click()
    browser.one("#encode-form .primary").click()
    browser.wait(lambda: browser.texts("#encoded table"))
    body = {
        "inputs": "the lift of a wing, and the wings of a bird",
        "kind": "document",
        "index": "cranfield",
    }
    told = browser.site.ask("encode", body)
    terms = told["texts"][0]["terms"]
    most = max(term["value"] for term in terms)
    expected = [[t["term"], str(t["index"]), shown(t["value"], most)] for t in terms]
    assert rows(browser, "#encoded") == expected
    assert browser.one("#encode-count").text == f"{len(terms)} terms – {told['encoder']}"


VIEWS = (
    f"index=cranfield&q={QUERY}", "index=mixed&q=wing+in+flow&fusion=rrf",
    "index=mixed&q=wing+in+flow&side=1", "index=mixed&q=wing&filter=year+>", "index=hostile&q=wing",
    "index=mixed&view=index", "index=cranfield&view=encode&text=the+lift+of+a+wing",
)  # fmt: skip


def each_view(browser: Browser) -> Iterator[str]:
    """All views one after another, with an explanation open where there is one."""
    browser.expected = {422}
    settled = (
        "return document.querySelector('.panel table, .panel .missing, #stats table,"
        " #encoded table, #filter-error:not([hidden])') !== null"
    )
    for view in VIEWS:
        browser.open(f"#{view}")
        if "q=" in view and not view.endswith(">"):
            browser.wait_for_results()
            browser.one("button.explain").click()
        browser.wait(lambda: browser.run(settled))
        yield view


def test_a_phone_needs_no_scrolling_sideways(browser: Browser) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    for view in each_view(browser):
        width, outside = browser.run(
            "const seen = [...document.querySelectorAll('main *, header *')].filter((e) =>"
            "  e.checkVisibility() && !e.closest('.wide, .visually-hidden, #filter-error'));"
            "return [document.documentElement.scrollWidth,"
            "  seen.filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.outerHTML)]"
        )
        assert width <= 360, view
        assert outside == [], view
        small = browser.run(
            "return [...document.querySelectorAll('input:not([type=checkbox], [type=radio]),"
            " select, textarea, button')].filter((e) => e.checkVisibility()).map((e) =>"
            " [e.id || e.textContent, e.getBoundingClientRect().height]).filter(([, h]) => h < 24)"
        )
        assert small == [], view


CONTRAST = r"""
const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const found = channels(getComputedStyle(e).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const ratio = (a, b) => {
  const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
  found.push([walker.currentNode.data.trim().slice(0, 40),
    ratio(channels(getComputedStyle(element).color), behind(element))]);
}
for (const field of document.querySelectorAll("input, textarea")) {
  if (!field.checkVisibility()) continue;
  const back = behind(field);
  found.push([`#${field.id}`, ratio(channels(getComputedStyle(field).color), back)]);
  found.push([`#${field.id} placeholder`,
    ratio(channels(getComputedStyle(field, "::placeholder").color), back)]);
}
return [light(behind(document.body)), found];
"""


def test_every_view_is_readable_and_named(browser: Browser) -> None:
    roles = {
        "button",
        "textbox",
        "searchbox",
        "combobox",
        "checkbox",
        "radio",
        "link",
        "spinbutton",
    }
    for view in each_view(browser):
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            paper, found = browser.run(CONTRAST)
            assert (paper < 0.1) == (scheme == "dark")
            assert len(found) > 15
            assert [each for each in found if each[1] < 4.5] == [], (view, scheme)
        tree = browser.chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        controls = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node["ignored"] and node["role"]["value"] in roles
        ]
        assert len(controls) > 5
        assert [each for each in controls if not each[1].strip()] == [], view


def test_colours_can_be_chosen(browser: Browser) -> None:
    features = [{"name": "prefers-color-scheme", "value": "light"}]
    browser.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.open()
    papers = []
    for name in ("auto", "light", "dark"):
        assert browser.one("#theme").text == f"Colours: {name}"
        papers.append(browser.run(CONTRAST)[0])
        if name != "dark":
            browser.one("#theme").click()
    assert papers[0] == papers[1] > 0.9 > 0.1 > papers[2]
    browser.open()  # it is kept
    assert browser.run(CONTRAST)[0] == papers[2]
    browser.one("#theme").click()
    assert browser.run(CONTRAST)[0] == papers[0]


def test_a_key_is_asked_for(folder: Path, chromium: Chrome, tmp_path: Path, site: Site) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    token = keys.add("tester", ["read"])
    encoders: dict[str, Any] = {"letters": Letters(), "hostile": Hostile()}
    guarded = Site(Service([folder], Settings(has_keys=True), encoders=encoders, keys=keys))
    try:
        browser = Browser(chromium, guarded)
        browser.open(f"#index=mixed&q={QUERY}")
        browser.wait(lambda: browser.one("#key-form").is_displayed())
        assert browser.one("#key-text").text == "This service needs a key."
        assert browser.run("return document.activeElement.id") == "key"
        browser.press("wrong", Keys.ENTER)
        browser.wait(lambda: "does not know" in browser.one("#key-text").text)
        browser.wait(lambda: browser.one("#key-form").is_displayed())
        browser.press("clé", Keys.ENTER)
        browser.wait(lambda: "ASCII" in browser.one("#key-text").text)
        browser.one("#key").clear()
        browser.one("#key").send_keys(token, Keys.ENTER)
        browser.wait_for_results("Heat")
        assert not browser.one("#key-form").is_displayed()
        assert token not in browser.chrome.current_url
        browser.chrome.refresh()
        browser.wait_for_results("Heat")  # it is remembered
        statuses = {
            entry["message"].rpartition("status of ")[2][:3] for entry in browser.logged("browser")
        }
        assert statuses == {"401"}
    finally:
        chromium.get("about:blank")
        guarded.close()


def test_it_tries_again_where_the_service_is_busy(browser: Browser) -> None:
    browser.expected = {429}
    browser.open("#index=mixed")
    browser.wait(lambda: browser.one("#results").text)
    browser.site.busy.refusals = 1
    browser.one("#query").send_keys("flutter", Keys.ENTER)
    browser.wait(lambda: "busy: trying again in 1 s" in browser.one("#problem").text)
    browser.wait_for_results("Panels")
    assert browser.site.busy.refusals == 0
    browser.wait(lambda: not browser.one("#problem").is_displayed())


def test_a_service_that_is_gone(browser: Browser) -> None:
    browser.open("#index=mixed")
    browser.wait(lambda: browser.one("#results").text)
    network = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.chrome.execute_cdp_cmd("Network.enable", {})
    browser.chrome.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    browser.one("#query").send_keys("flutter", Keys.ENTER)
    browser.wait(lambda: browser.one("#problem").text == "The service does not answer.")
    browser.chrome.execute_cdp_cmd(
        "Network.emulateNetworkConditions", {**network, "offline": False}
    )
    browser.one("#query").send_keys(Keys.ENTER)
    browser.wait_for_results("Panels")
    browser.logged("browser")  # has the failure, as it should


def test_files_are_fixed_and_guarded(site: Site) -> None:
    answer = site.client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    etag = answer.headers["etag"]
    assert site.client.get("/", headers={"If-None-Match": etag}).status_code == 304
    assert site.client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200
    head = site.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))
    named = {path.name for path in PAGE.iterdir() if path.name != "index.html"}
    for name in named:
        assert site.client.get(f"page/{name}").content == (PAGE / name).read_bytes()
    for name in ("../page_routes.py", "%2e%2e%2fpage_routes.py", "index.html", "a.js", "%00"):
        assert site.client.get(f"page/{name}").status_code == 404


def test_sources_need_nothing_from_elsewhere() -> None:
    for path in PAGE.iterdir():
        source = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in source.replace("https?", ""), path.name
        forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function"
        assert not re.search(forbidden, source), path.name
        assert path.suffix != ".html" or not re.search(r"\sstyle=|\son\w+=|<style", source)
        assert source.count("\n") < 400, path.name
