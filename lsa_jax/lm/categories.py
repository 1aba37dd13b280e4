"""The subjects of MMLU and their categories, in the two ways they are counted."""

from lsa_jax import checks

LM_EVAL = {
    "stem": [
        "abstract_algebra",
        "anatomy",
        "astronomy",
        "college_biology",
        "college_chemistry",
        "college_computer_science",
        "college_mathematics",
        "college_physics",
        "computer_security",
        "conceptual_physics",
        "electrical_engineering",
        "elementary_mathematics",
        "high_school_biology",
        "high_school_chemistry",
        "high_school_computer_science",
        "high_school_mathematics",
        "high_school_physics",
        "high_school_statistics",
        "machine_learning",
    ],
    "humanities": [
        "formal_logic",
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "international_law",
        "jurisprudence",
        "logical_fallacies",
        "moral_disputes",
        "moral_scenarios",
        "philosophy",
        "prehistory",
        "professional_law",
        "world_religions",
    ],
    "social_sciences": [
        "econometrics",
        "high_school_geography",
        "high_school_government_and_politics",
        "high_school_macroeconomics",
        "high_school_microeconomics",
        "high_school_psychology",
        "human_sexuality",
        "professional_psychology",
        "public_relations",
        "security_studies",
        "sociology",
        "us_foreign_policy",
    ],
    "other": [
        "business_ethics",
        "clinical_knowledge",
        "college_medicine",
        "global_facts",
        "human_aging",
        "management",
        "marketing",
        "medical_genetics",
        "miscellaneous",
        "nutrition",
        "professional_accounting",
        "professional_medicine",
        "virology",
    ],
}
"""Subjects of each category as lm-eval counts them: 19 of STEM, anatomy among them."""

CATEGORIES = tuple(LM_EVAL)
MAPS = ("authors", "lm_eval")
"""The authors' tool counts anatomy as Other, so that STEM has 18 subjects; all else is the same."""


def category(subject: str, map: str = "authors") -> str:
    """Return the category of a subject.

    Args:
        subject: its name, with underscores.
        map: `authors` or `lm_eval`.

    Returns:
        `stem`, `humanities`, `social_sciences` or `other`.

    Raises:
        InputError: if there is no such subject or map.

    Example:
        >>> category("anatomy"), category("anatomy", "lm_eval")
        ('other', 'stem')
    """
    by_subject = {name: one for one, names in LM_EVAL.items() for name in names}
    if checks.as_choice("category map", map, MAPS) == "authors":
        by_subject["anatomy"] = "other"
    return by_subject[checks.as_choice("subject", subject, tuple(by_subject))]
