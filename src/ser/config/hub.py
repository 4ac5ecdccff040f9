"""Names of models on the Hugging Face hub, told from paths."""

import re
from pathlib import Path

from ser.errors import require, suggest_path

ADDRESS = re.compile(
    r"(?:hf:/{1,2}|https?://(?:www\.)?(?:huggingface\.co|hf\.co)/)"
    r"([\w.-]+/[\w.-]+)(?:/tree/main)?/?"
)
NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def without_address(source: str) -> str:
    """OWNER/NAME for an address of the hub; other sources unchanged."""
    found = ADDRESS.fullmatch(source)
    return found[1] if found else source


def has_hub_form(name: str) -> bool:
    """Whether a name has the form OWNER/NAME."""
    return NAME.fullmatch(name) is not None


def may_be_on_hub(name: str) -> bool:
    """Whether a name is OWNER/NAME, and not a path in an existing folder, such as runs/none."""
    return has_hub_form(name) and not Path(name).parent.is_dir()


def require_model(key: str, name: str) -> None:
    """Raise UserError for neither a file, nor a folder, nor a name of the hub."""
    found = Path(name).expanduser().exists() or may_be_on_hub(without_address(name))
    require(
        found,
        key,
        name,
        f"no such file or folder, and not OWNER/NAME on the hub{suggest_path(name)}",
    )
