"""The chat format of a snapshot: its own template, as transformers renders it, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from fakes import TEMPLATE, write_tokenizer

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm import tokenizer

TURNS = [("user", "Who?"), ("assistant", "I."), ("user", "And {{ you }}?\n")]
KIND = TEMPLATE.replace("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "Be kind.")
NO_SYSTEM = (
    "{% for message in messages %}{{ bos_token + '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' }}\n"
    "{% if loop.index > 9 %}{% break %}{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_config(folder: Path, **config: Any) -> Path:
    store.save_json(folder / "tokenizer_config.json", config)
    return folder


def test_the_template_of_a_snapshot_is_followed(tmp_path: Path) -> None:
    assert tokenizer.load_chat(tmp_path)(TURNS) == tokenizer.qwen_chat(TURNS)
    assert tokenizer.load_chat(with_config(tmp_path, chat_template=TEMPLATE))(TURNS) == tokenizer.qwen_chat(TURNS)
    kind = tokenizer.qwen_chat(TURNS, system="Be kind.")
    named = [{"name": "tool_use", "template": TEMPLATE}, {"name": "default", "template": KIND}]
    assert tokenizer.load_chat(with_config(tmp_path, chat_template=named))(TURNS) == kind
    (tmp_path / "chat_template.jinja").write_text(KIND)
    assert tokenizer.load_chat(with_config(tmp_path, chat_template=TEMPLATE))(TURNS) == kind


@pytest.mark.parametrize("template", [TEMPLATE, KIND, NO_SYSTEM])
def test_texts_are_those_of_transformers(tmp_path: Path, template: str) -> None:
    transformers = pytest.importorskip("transformers")
    path = write_tokenizer(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path), chat_template=template, bos_token="<|endoftext|>")
    messages = [{"role": role, "content": text} for role, text in TURNS]
    ours = tokenizer.load_chat(with_config(tmp_path, chat_template=template, bos_token={"content": "<|endoftext|>"}))
    assert ours(TURNS) == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}[INST] {{ message.content }} [/INST]{% endfor %}", "a chat format without"),
        ("<|im_start|>", "a chat format without"),
        (TEMPLATE.replace("message.content", "message.content | upper"), "a chat format without"),
        ("{% for", "a chat format that cannot be read"),
        ("{{ raise_exception('no assistant') }}", r"a chat format that cannot write this conversation \(no assistant\)"),
        ("{{ messages.append(1) }}", "a chat format that cannot write this conversation"),
        ("{{ 1 // 0 }}", r"a chat format that cannot write this conversation \(integer division"),
        ([{"name": "rag", "template": TEMPLATE}], "has chat formats called rag and none called default"),
        (7, "a chat_template that is no text"),
    ],
)
def test_templates_that_cannot_be_used_are_one_line(tmp_path: Path, template: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tokenizer.load_chat(with_config(tmp_path, chat_template=template))(TURNS)
    assert "\n" not in str(caught.value)
