"""What scoring by letters needs of any tokenizer."""

from lsa_jax.lm import prompts
from lsa_jax.lm.questions import Question
from lsa_jax.lm.tokenizer import Tokenizer


def check_letters(numbers: Tokenizer, question: Question, format: str) -> None:
    """Each letter is one token, with its lead, and the tokens of a prompt do not change when it follows."""
    prompt = prompts.evaluation_prompt(question, [question], format, numbers.chat)
    lead = {"chat": "", "plain": " "}[format]
    for letter, tokens in zip("ABCD", prompts.letter_tokens(numbers, format), strict=True):
        assert len(tokens) == 1
        assert numbers.decode(tokens) == lead + letter
        assert numbers.encode(prompt + lead + letter) == numbers.encode(prompt) + tokens
