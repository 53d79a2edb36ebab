"""The portal in a real browser: nothing is asked of another host, nothing is refused or broken, keys work."""

from __future__ import annotations

import pytest

from thalweg.contract import project

SURFACES = list(project.find().surfaces)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_ask_only_this_server_and_fit_into_the_window(portal, tab, width, theme):
    tab.show(width, 900, theme)
    for path in ("/", "/changes", "/coverage", "/health", *(f"/surfaces/{key}" for key in SURFACES)):
        tab.open(portal.url + path)
        tab.settle(0.3)
        assert tab.addresses() == {portal.url.removeprefix("http://")}
        # Health is 503 or 200 as it is; the browser writes a refused page down as an error.
        assert tab.complaints() == []
        assert tab.run("document.documentElement.scrollWidth") <= width, path
        assert tab.run("document.documentElement.dataset.theme") == theme


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast(portal, tab, theme):
    tab.show(1280, 900, theme)
    for path in ("/", "/surfaces/thalium", "/health", "/changes", "/coverage"):
        tab.open(portal.url + path)
        assert tab.run(CONTRAST) == [], path


def test_the_theme_that_is_chosen_stays(portal, tab):
    tab.show(1280, 900, "light")
    tab.open(portal.url + "/")
    tab.run("document.getElementById('theme').click()")
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    tab.open(portal.url + "/changes")
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    assert tab.run("getComputedStyle(document.body).colorScheme") == "dark"


def test_the_keyboard_reaches_the_content_first(portal, tab):
    tab.open(portal.url + "/")
    for kind in ("keyDown", "keyUp"):
        tab.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert tab.run("document.activeElement.getAttribute('href')") == "#main"
    assert tab.run("document.activeElement.getBoundingClientRect().left") == 0


def test_an_operation_is_found_by_a_word(portal, tab):
    key = next((key for key in SURFACES if key != "thalium"), None)
    if key is None:
        pytest.skip("there is no surface with many operations yet")
    tab.open(f"{portal.url}/surfaces/{key}")
    tab.until("!document.getElementById('filter').parentElement.hidden")
    tab.run("document.getElementById('filter').focus()")
    tab.send("Input.insertText", text="post token")
    assert tab.run("[...document.querySelectorAll('tr[data-words]:not([hidden])')].length") > 0
    assert tab.run(
        "[...document.querySelectorAll('tr[data-words]:not([hidden])')].every(r => r.dataset.words.includes('token'))"
    )


@pytest.mark.parametrize("key", SURFACES)
def test_the_reference_renders_without_another_host(portal, tab, key):
    tab.show(1280, 900, "dark")
    tab.open(f"{portal.url}/docs/{key}")
    tab.until("!!document.querySelector('#reference h1:not(.unseen)')")
    tab.settle(1.5)
    assert tab.addresses() == {portal.url.removeprefix("http://")}
    assert tab.complaints() == []
    assert tab.run("document.querySelectorAll('h1').length") == 1
    assert tab.run("document.body.classList.contains('dark-mode')")


def test_the_reference_tries_an_operation_on_this_server_with_a_key(portal, tab):
    tab.show(1280, 900, "light")
    tab.open(f"{portal.url}/docs/thalium#tag/brains/GET/v1/brain/{{brainId}}/status")
    tab.until("!!document.querySelector('#reference input[id^=scalar-refs]')")
    tab.run("document.querySelector('#reference input[id^=scalar-refs]').focus()")
    tab.send("Input.insertText", text=portal.key)
    tab.settle(0.5)
    tab.run(
        "[...document.querySelectorAll('button')]"
        ".find(b => /Test Request/.test(b.innerText) && b.innerText.includes('status')).click()"
    )
    send = "[...document.querySelectorAll('button')].find(b => /^Send Request/.test(b.innerText))"
    tab.until(f"!!{send}")
    tab.run(f"{send}.click()")
    tab.until("/not_found/.test(document.body.innerText)")
    asked = [
        event["params"]
        for event in tab.events
        if event["method"] == "Network.requestWillBeSent" and event["params"]["request"]["url"].endswith("/status")
    ]
    assert len(asked) == 1, asked
    sent = {name.lower(): value for name, value in asked[0]["request"]["headers"].items()}
    assert asked[0]["request"]["url"].startswith(f"{portal.url}/thalium/v1/brain/")
    assert sent["x-api-key"] == portal.key
    answered = [
        event["params"]["response"]["status"]
        for event in tab.events
        if event["method"] == "Network.responseReceived" and event["params"]["requestId"] == asked[0]["requestId"]
    ]
    assert answered == [404]  # the key was taken (else 401); the contract's example is no brain of ours
    assert tab.addresses() == {portal.url.removeprefix("http://")}
    kept = tab.run("JSON.stringify([...Object.entries(localStorage), ...Object.entries(sessionStorage)])")
    assert portal.key not in kept


# WCAG 2.1, contrast ratio of every text with what is behind it: 4.5, and 3 for large text.
CONTRAST = """
(() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (!e.checkVisibility() || e.closest(".unseen, svg, script")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + .05) / (b + .05);
    const told = `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`;
    if (ratio < (large ? 3 : 4.5)) poor.push(told);
  }
  return poor.slice(0, 10);
})()
"""
