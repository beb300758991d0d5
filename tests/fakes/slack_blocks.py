"""Block Kit as Slack enforces it: which blocks, elements and texts a message or a modal may hold, and how long.

Problems are worded like Slack's own (``must be less than 3001 characters [json-pointer:/blocks/0/text/text]``), since
that is what an operator finds in the log. Limits are those of the Slack contract and of Slack's Block Kit reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

JsonDict = dict[str, Any]

MESSAGE_BLOCKS = 50
MODAL_BLOCKS = 100
SECTION_TEXT = 3000
SECTION_FIELDS = 10
FIELD_TEXT = 2000
HEADER_TEXT = 150
ACTIONS_ELEMENTS = 25
CONTEXT_ELEMENTS = 10
ID_LENGTH = 255
MODAL_TITLE = 24
PRIVATE_METADATA = 3000

_BLOCK_KEYS: dict[str, frozenset[str]] = {
    "section": frozenset({"text", "fields", "accessory", "expand"}),
    "header": frozenset({"text"}),
    "divider": frozenset(),
    "actions": frozenset({"elements"}),
    "context": frozenset({"elements"}),
    "image": frozenset({"image_url", "alt_text", "title", "slack_file"}),
    "input": frozenset({"label", "element", "dispatch_action", "hint", "optional"}),
    "rich_text": frozenset({"elements"}),
    "markdown": frozenset({"text"}),
}
_SELECTS = frozenset(
    f"{many}{kind}_select"
    for many in ("", "multi_")
    for kind in ("static", "external", "users", "conversations", "channels")
)
_INPUTS = frozenset({"plain_text_input", "number_input", "email_text_input", "url_text_input", "rich_text_input"})
_PICKERS = frozenset({"datepicker", "timepicker", "datetimepicker"})
_CHOICES = frozenset({"checkboxes", "radio_buttons"})
_ACTIVE = _SELECTS | _PICKERS | _CHOICES | {"button", "overflow"}
_ACCESSORIES = _ACTIVE | {"image"}
_INPUT_ELEMENTS = _SELECTS | _PICKERS | _CHOICES | _INPUTS


def check_blocks(blocks: Any, *, most: int = MESSAGE_BLOCKS, pointer: str = "/blocks") -> list[str]:
    """Return what Slack would object to in ``blocks``, empty when it would take them."""
    checker = _Checker()
    checker.blocks(blocks, pointer, most)
    return checker.problems


def check_modal(view: JsonDict) -> list[str]:
    """Return what Slack would object to in a modal."""
    checker = _Checker()
    if view.get("type") != "modal":
        checker.fail("unsupported type", "/view/type")
    checker.text(view.get("title"), "/view/title", most=MODAL_TITLE, plain=True)
    for key in ("submit", "close"):
        if key in view:
            checker.text(view[key], f"/view/{key}", most=MODAL_TITLE, plain=True)
    checker.string(view, "private_metadata", "/view", most=PRIVATE_METADATA)
    checker.string(view, "callback_id", "/view", most=ID_LENGTH)
    blocks = view.get("blocks")
    checker.blocks(blocks, "/view/blocks", MODAL_BLOCKS)
    asks = isinstance(blocks, list) and any(isinstance(b, dict) and b.get("type") == "input" for b in blocks)
    if asks and "submit" not in view:
        checker.fail("`submit` is required in views with input blocks", "/view/submit")
    return checker.problems


def text_size(blocks: Any) -> int:
    """Count the characters of every text in ``blocks``."""
    if isinstance(blocks, list):
        return sum(text_size(item) for item in blocks)
    if not isinstance(blocks, dict):
        return 0
    own = blocks.get("text")
    nested = sum(text_size(value) for value in blocks.values())
    return nested + (len(own) if isinstance(own, str) else 0)


def elements_of(blocks: list[JsonDict]) -> Iterator[tuple[JsonDict, JsonDict]]:
    """Yield every interactive element with the block that holds it."""
    for block in blocks:
        candidates = [*block.get("elements", []), block.get("accessory"), block.get("element")]
        for element in candidates:
            if isinstance(element, dict) and "action_id" in element:
                yield block, element


class _Checker:
    """Collects problems; every method names the place as a JSON pointer."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._block_ids: set[str] = set()

    def fail(self, problem: str, at: str) -> None:
        self.problems.append(f"{problem} [json-pointer:{at}]")

    def blocks(self, blocks: Any, at: str, most: int) -> None:
        if not isinstance(blocks, list):
            self.fail("must be an array", at)
            return
        if len(blocks) > most:
            self.fail(f"no more than {most} items allowed", at)
        for index, block in enumerate(blocks):
            self._block(block, f"{at}/{index}")

    def text(self, value: Any, at: str, *, most: int = SECTION_TEXT, plain: bool = False) -> None:
        if not isinstance(value, dict):
            self.fail("missing or invalid text object", at)
            return
        kinds = ("plain_text",) if plain else ("mrkdwn", "plain_text")
        kind = value.get("type")
        if kind not in kinds:
            self.fail(f"must be one of {', '.join(kinds)}", f"{at}/type")
        known = {"type", "text", "emoji" if kind == "plain_text" else "verbatim"}
        self._no_extras(value, known, at)
        self.string(value, "text", at, most=most, required=True)

    def string(self, owner: JsonDict, key: str, at: str, *, most: int, required: bool = False) -> None:
        value = owner.get(key)
        place = f"{at}/{key}"
        if value is None:
            if required:
                self.fail(f"missing required field: {key}", at)
        elif not isinstance(value, str):
            self.fail("must be a string", place)
        elif len(value) > most:
            self.fail(f"must be less than {most + 1} characters", place)
        elif required and not value:
            self.fail("must be more than 0 characters", place)

    def _no_extras(self, value: JsonDict, known: frozenset[str] | set[str], at: str) -> None:
        for key in value:
            if key not in known:
                self.fail(f"invalid additional property: {key}", at)

    def _block(self, block: Any, at: str) -> None:
        if not isinstance(block, dict):
            self.fail("must be an object", at)
            return
        kind = block.get("type")
        if kind not in _BLOCK_KEYS:
            self.fail(f"unsupported type: {kind}", f"{at}/type")
            return
        self._no_extras(block, _BLOCK_KEYS[kind] | {"type", "block_id"}, at)
        self.string(block, "block_id", at, most=ID_LENGTH)
        block_id = block.get("block_id")
        if isinstance(block_id, str) and block_id:
            if block_id in self._block_ids:
                self.fail(f"`block_id` must be unique: {block_id}", f"{at}/block_id")
            self._block_ids.add(block_id)
        getattr(self, f"_{kind}_block")(block, at)

    def _section_block(self, block: JsonDict, at: str) -> None:
        if "text" not in block and "fields" not in block:
            self.fail("missing required field: text or fields", at)
        if "text" in block:
            self.text(block["text"], f"{at}/text")
        if "fields" in block:
            for place, entry in self._items(block, "fields", at, SECTION_FIELDS):
                self.text(entry, place, most=FIELD_TEXT)
        if "accessory" in block:
            self._element(block["accessory"], f"{at}/accessory", _ACCESSORIES)

    def _header_block(self, block: JsonDict, at: str) -> None:
        self.text(block.get("text"), f"{at}/text", most=HEADER_TEXT, plain=True)

    def _divider_block(self, block: JsonDict, at: str) -> None:
        """A divider holds nothing."""

    def _actions_block(self, block: JsonDict, at: str) -> None:
        seen: set[str] = set()
        for place, element in self._items(block, "elements", at, ACTIONS_ELEMENTS):
            self._element(element, place, _ACTIVE)
            action_id = element.get("action_id") if isinstance(element, dict) else None
            if isinstance(action_id, str) and action_id in seen:
                self.fail(f"`action_id` must be unique: {action_id}", f"{place}/action_id")
            seen.add(str(action_id))

    def _context_block(self, block: JsonDict, at: str) -> None:
        for place, element in self._items(block, "elements", at, CONTEXT_ELEMENTS):
            if isinstance(element, dict) and element.get("type") == "image":
                self._element(element, place, frozenset({"image"}))
            else:
                self.text(element, place)

    def _image_block(self, block: JsonDict, at: str) -> None:
        self._image(block, at)
        if "title" in block:
            self.text(block["title"], f"{at}/title", most=2000, plain=True)

    def _input_block(self, block: JsonDict, at: str) -> None:
        self.text(block.get("label"), f"{at}/label", most=2000, plain=True)
        if "hint" in block:
            self.text(block["hint"], f"{at}/hint", most=2000, plain=True)
        self._element(block.get("element"), f"{at}/element", _INPUT_ELEMENTS)

    def _rich_text_block(self, block: JsonDict, at: str) -> None:
        self._items(block, "elements", at, most=None)

    def _markdown_block(self, block: JsonDict, at: str) -> None:
        self.string(block, "text", at, most=12000, required=True)

    def _items(self, owner: JsonDict, key: str, at: str, most: int | None, least: int = 1) -> list[tuple[str, Any]]:
        place = f"{at}/{key}"
        items = owner.get(key)
        if not isinstance(items, list):
            self.fail("must be an array", place)
            return []
        if len(items) < least:
            self.fail(f"must have at least {least} items", place)
        if most is not None and len(items) > most:
            self.fail(f"no more than {most} items allowed", place)
        return [(f"{place}/{index}", item) for index, item in enumerate(items)]

    def _element(self, element: Any, at: str, allowed: frozenset[str]) -> None:
        kind = element.get("type") if isinstance(element, dict) else None
        if not isinstance(element, dict) or kind not in allowed:
            self.fail(f"unsupported type: {kind}", f"{at}/type")
            return
        if kind == "image":
            self._image(element, at)
            return
        self.string(element, "action_id", at, most=ID_LENGTH)
        if "placeholder" in element:
            self.text(element["placeholder"], f"{at}/placeholder", most=150, plain=True)
        if "confirm" in element:
            self._confirm(element["confirm"], f"{at}/confirm")
        if kind == "button":
            self._button(element, at)
        elif kind in {"overflow", "checkboxes", "radio_buttons"}:
            self._options(element, at, most=5 if kind == "overflow" else 10)
        elif kind in {"static_select", "multi_static_select"} and "option_groups" not in element:
            self._options(element, at, most=100)

    def _button(self, button: JsonDict, at: str) -> None:
        known = {"type", "text", "action_id", "value", "url", "style", "confirm", "accessibility_label"}
        self._no_extras(button, known, at)
        self.text(button.get("text"), f"{at}/text", most=75, plain=True)
        self.string(button, "value", at, most=2000)
        self.string(button, "url", at, most=3000)
        self.string(button, "accessibility_label", at, most=75)
        if button.get("style", "primary") not in {"primary", "danger"}:
            self.fail("must be one of primary, danger", f"{at}/style")

    def _options(self, element: JsonDict, at: str, *, most: int) -> None:
        for place, option in self._items(element, "options", at, most):
            if not isinstance(option, dict):
                self.fail("must be an object", place)
                continue
            plain = element["type"] not in _CHOICES
            self.text(option.get("text"), f"{place}/text", most=75, plain=plain)
            self.string(option, "value", place, most=150, required=True)

    def _confirm(self, confirm: Any, at: str) -> None:
        if not isinstance(confirm, dict):
            self.fail("must be an object", at)
            return
        self.text(confirm.get("title"), f"{at}/title", most=100, plain=True)
        self.text(confirm.get("text"), f"{at}/text", most=300)
        for key in ("confirm", "deny"):
            self.text(confirm.get(key), f"{at}/{key}", most=30, plain=True)

    def _image(self, image: JsonDict, at: str) -> None:
        if "slack_file" not in image:
            self.string(image, "image_url", at, most=3000, required=True)
        self.string(image, "alt_text", at, most=2000, required=True)
