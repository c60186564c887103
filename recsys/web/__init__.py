"""The API in the browser: a storefront on whatever catalogue is loaded.

    browser ──> pages: what the API would answer to this visitor ──> cards ──> templates ──> HTML
                  └─ pictures: photos as thumbnails, covers where there is none

Every page is whole without JavaScript; what is in `static/` makes it quicker to use. Read in this order: visitors,
covers, thumbnails, cards, rows, assets, site, pages.
"""
