"""Turn a user's message into the text that a chat model was trained to answer.

The template is the checkpoint's own (`tokenizer_config.json`, Jinja). It is untrusted: it runs in
Jinja's sandbox, without access to anything but the message.
"""

import json
from typing import TYPE_CHECKING, Final

from datanode.errors import FormatError, UsageError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

CONFIG_FILE: Final = "tokenizer_config.json"
MAX_CONFIG_BYTES: Final = 8 << 20
"""Largest configuration that is read. Ours."""

_WITHOUT: Final = "Pass --raw (`raw=True`) to continue the text itself, without the template."


def chat_prompt(config: bytes, message: str) -> str | None:
    """Render the chat template for one message of a user; None if the model has no template.

    Args:
        config: Content of `tokenizer_config.json`.
        message: What the user says.

    Raises:
        FormatError: The configuration is not JSON of the expected shape, or the template fails.
        UsageError: Jinja is not installed.
    """
    try:
        fields = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{CONFIG_FILE} is not JSON", hint=_WITHOUT) from error
    template = _template(fields)
    if template is None:
        return None
    try:
        from jinja2.exceptions import TemplateError  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError as error:
        raise UsageError(
            "the model's chat template needs Jinja, which is not installed",
            hint="Install `datanode[inference]`, or pass --raw to continue the text itself.",
        ) from error
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    try:
        text: str = (
            _environment()
            .from_string(template)
            .render(
                messages=[{"role": "user", "content": message}],
                add_generation_prompt=True,
                **{name: _token(fields.get(name)) for name in names},
            )
        )
    except (
        TemplateError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        why = str(error) or type(error).__name__
        raise FormatError(f"the model's chat template fails: {why}", hint=_WITHOUT) from error
    return text


def _environment() -> "ImmutableSandboxedEnvironment":
    from jinja2.exceptions import TemplateError  # noqa: PLC0415 - see above
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(text: str) -> None:
        raise TemplateError(text)

    environment.globals["raise_exception"] = raise_exception
    return environment


def _template(fields: object) -> str | None:
    if not isinstance(fields, dict):
        raise FormatError(f"{CONFIG_FILE} is not a JSON object", hint=_WITHOUT)
    template = fields.get("chat_template")
    if isinstance(template, list):
        named = {
            each.get("name"): each.get("template") for each in template if isinstance(each, dict)
        }
        template = named.get("default")
    return template if isinstance(template, str) else None


def _token(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""
