"""Who may see the console, and who may not."""

from storefronts import Browse, Shop


def test_overview(shop: Shop, browse: Browse, size: str) -> None:
    visit = browse(shop.url + "/console", size)
    visit.page.wait_for_selector(".main-svg")
    visit.show("console")
    assert visit.barriers() == []
