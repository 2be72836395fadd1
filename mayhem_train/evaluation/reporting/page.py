"""The HTML pages of reports: a report's own template on top of what all pages have in common."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render_page(package: str, template: str, **values: object) -> str:
    """A template of that package, filled in; it may import from `parts.html.jinja` of this room."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("mayhem_train.evaluation.reporting")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
