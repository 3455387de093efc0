"""The page of exports of everything that an organisation has stored."""

from models_app.views.exports.page import export_download, export_order, exports_page

__all__ = ["export_download", "export_order", "exports_page"]
