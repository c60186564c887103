"""The console: what runs the shop, for those who know `serving.admin_key`.

    browser ──> admission ──> a page: what the services know ──> figures ──> templates ──> HTML, plots by Plotly

Every page is whole as it comes, but for its plots; what changes something is a form. Read in this order: admission,
site, figures, a module for each page, pages.
"""
