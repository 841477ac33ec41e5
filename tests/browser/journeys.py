"""What people do: submit, follow, promote, roll back, carry everything onto a new base."""

import json

from browser import FORBIDDEN_TO_READERS, Window


def as_administrator(chromium, world):
    """Does everything; the pages by name, for others to look at."""
    plain = Window(chromium, world.url, world.keys["admin"], scripts=False)
    transfer = submits_without_scripts(plain, world)
    lively = Window(chromium, world.url, world.keys["admin"])
    follows_with_scripts(lively, world, transfer)
    rejected = sees_a_rejection(plain, world)
    failed = retries_what_failed(lively, world)
    retune = promotes_and_rolls_back(plain, lively, world)
    endpoint(lively)
    keys(plain)
    plain.close()
    lively.close()

    return {
        "overview": "/", "transfers": "/transfers", "search": "/transfers?search=new&status=succeeded",
        "nothing-found": "/transfers?search=nothing-like-it", "transfer": transfer, "rejected": rejected,
        "failed": failed, "new": f"/transfers/new?like={transfer.rsplit('/', 1)[1]}", "retunes": "/retunes",
        "retune": retune, "campaign": f"{retune}/campaign", "fine-tunes": "/fine-tunes",
        "fine-tune": "/fine-tunes/news", "compare": "/fine-tunes/news/compare?a=1&b=2",
        "base-models": "/base-models", "base-model": "/base-models/bases", "workers": "/workers",
        "webhooks": "/webhooks", "webhook": "/webhooks/ci", "keys": "/keys", "audit": "/audit", "login": "/login",
    }


def path_of(window):
    return window.page.url.removeprefix(window.url)


def submit(window, spec):
    """By the form; the path of the transfer."""
    page = window.page
    window.open("/transfers/new")
    page.get_by_label("The job, in JSON").fill(json.dumps(spec, indent=2))
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="What happened").wait_for()
    return path_of(window)


def submits_without_scripts(window, world):
    page = window.page
    window.open("/")
    assert "All is well" in page.locator("main").inner_text()
    page.get_by_role("link", name="New transfer").click()
    spec = world.spec | {"metadata": {"team": "search"}}
    page.get_by_label("The job, in JSON").fill("{")
    page.get_by_role("button", name="Check and estimate").click()
    page.get_by_text("This is no JSON").wait_for()
    page.get_by_label("The job, in JSON").fill(json.dumps(spec, indent=2))
    page.get_by_role("button", name="Check and estimate").click()
    page.get_by_text("What it would take").wait_for()
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="What happened").wait_for()
    transfer = path_of(window)
    window.until("model.safetensors", transfer)
    text = page.locator("main").inner_text()
    assert "published" in text and "succeeded" in text and "team: search" in text, text
    return transfer


def follows_with_scripts(window, world, like):
    """The page becomes what the job becomes, without anybody's reloading it."""
    page = window.page
    window.open(like)
    page.get_by_role("link", name="New like this").click()
    page.get_by_role("button", name="Submit").click()
    page.locator("main .pill.succeeded").wait_for()
    page.get_by_text("model.safetensors").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first stop leads to the content"


def sees_a_rejection(window, world):
    spec = world.spec | {"methods": ["identity"], "options": {"alpha": 1.0}, "gate": {"min": 1.0}}
    transfer = submit(window, spec)
    window.until("rejected", transfer)
    assert "Gate" in window.page.locator("main").inner_text()
    return transfer


def retries_what_failed(window, world):
    page = window.page
    spec = world.spec | {"target": {"base": world.spec["target"]["base"].replace("/new/", "/nothing/")}}
    transfer = submit(window, spec)
    page.locator("main .pill.failed").wait_for()
    page.get_by_role("button", name="Retry").click()
    page.locator("main .pill.failed").wait_for()
    assert page.locator(".history li").filter(has_text="queued again by hand").count() == 1
    return transfer


def promotes_and_rolls_back(plain, lively, world):
    """Two new versions; each carries `news`, which waits for somebody. Then a second fine-tune by hand."""
    world.put_base_model()
    retune = world.add_version("2", world.spec["target"]["base"])["retune"]
    plain.until("waits to be promoted", f"/retunes/{retune}")
    world.add_version("3", world.spec["target"]["base"].replace("/new/", "/newer/"))
    plain.until("3", "/base-models/bases")
    plain.until("waiting for promotion", "/fine-tunes?show=proposed")
    for _ in range(120):
        if len(world.ask("GET", "/v1/fine_tunes/news/versions")["data"]) == 2:
            break
        plain.page.wait_for_timeout(500)

    for window, version in ((plain, 1), (lively, 2)):
        window.open("/fine-tunes/news")
        row = window.page.get_by_role("row").filter(has=window.page.get_by_role("rowheader", name=str(version), exact=True))
        # Without a script: the question is behind a summary, the answer is the form's button.
        row.locator("summary").click()
        row.get_by_role("button", name="Promote").click()
        window.until(f"version {version}", "/fine-tunes/news")
        assert world.ask("GET", "/v1/fine_tunes/news/aliases/production")["version"] == version

    page = lively.page
    lively.open("/fine-tunes/news")
    summary = page.locator("summary").filter(has_text="Roll back")
    summary.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_text("rolled back to version 1").wait_for()
    assert world.ask("GET", "/v1/fine_tunes/news/aliases/production")["version"] == 1

    world.put_fine_tune("other", "publish", on="manual")
    world.put_fine_tune("third", "promote", on="manual")
    lively.open("/retunes")
    page.locator("#begin > summary").click()
    page.get_by_label("Base model").fill("bases")
    page.get_by_label("Version").fill("3")
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("heading", name="Fine-tunes onto bases").wait_for()
    # The grid fills in by itself.
    page.locator(".cell.production, .cell.published").nth(1).wait_for()
    return path_of(lively)


def endpoint(window):
    page = window.page
    window.open("/webhooks")
    page.get_by_label("Name").fill("ci")
    page.get_by_label("Address").fill("http://127.0.0.1:9/hook")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("whsec_").wait_for()
    page.get_by_role("link", name="It is kept safe").click()
    page.get_by_role("button", name="Test").click()
    page.get_by_text("webhook_endpoint.test").first.wait_for()


def keys(window):
    page = window.page
    window.open("/keys")
    page.get_by_label("What it is for").fill("nightly pipeline")
    page.get_by_label("Role").select_option("submit")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret").inner_text()
    assert secret.startswith("rt_"), secret
    page.get_by_role("link", name="It is kept safe").click()
    assert secret not in page.content()
    row = page.get_by_role("row").filter(has_text="nightly pipeline")
    row.locator("summary").click()
    row.get_by_role("button", name="Revoke").click()
    page.get_by_text("withdrawn").wait_for()


def as_reader(chromium, world, pages):
    """Sees everything that readers may, and no button; what is posted all the same is refused."""
    window = Window(chromium, world.url, world.keys["reader"])
    links = window.page.locator("nav.sections").inner_text()
    assert "Keys" not in links and "Audit" not in links, links
    status = window.page.evaluate("""async (path) => {
        const body = new URLSearchParams({form_token: document.querySelector('[name=form_token]').value});
        return (await fetch(path, {method: 'POST', body})).status;
    }""", pages["failed"] + "/retry")
    assert status == 403, status
    assert world.ask("GET", f"/v1{pages['failed']}")["status"] == "failed"
    refused = world.ask("GET", "/v1/audit_events?outcome=refused")["data"]
    assert refused[0]["code"] == "forbidden", refused
    window.close()
    assert FORBIDDEN_TO_READERS <= set(pages)

    plain = Window(chromium, world.url, world.keys["reader"], scripts=False)
    plain.open(pages["transfer"])
    assert plain.page.locator("main form").count() == 0
    plain.page.get_by_role("button", name="Sign out").click()
    plain.page.get_by_role("heading", name="Sign in with a key").wait_for()
    plain.open("/transfers?status=failed")
    plain.page.get_by_label("Key").fill(world.keys["reader"])
    plain.page.get_by_role("button", name="Sign in").click()
    plain.page.get_by_role("heading", name="Transfers").wait_for()
    assert "status=failed" in plain.page.url, "one goes on where one wanted to go"
    plain.close()
