"""Templates of the pages of service and demo. All that comes from data is escaped."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

NOTICE = (
    "Whoever uses emotion recognition must inform the people concerned"
    " (EU AI Act, Regulation 2024/1689, Article 50(3))."
)
# Scripts come from this server alone, so no script can be injected by data.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self';"
    " img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@cache
def environment() -> Environment:
    """Templates of this package; they extend `base.html` of the reports."""
    return Environment(
        loader=ChoiceLoader([PackageLoader("ser.serving"), PackageLoader("ser.reports")]),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **context: Any) -> str:
    """The page of a template; raises jinja2.UndefinedError for a name that is not given."""
    return environment().get_template(template).render(**context)
