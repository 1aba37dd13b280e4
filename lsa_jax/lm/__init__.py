"""The paper's language-model experiment: LoRA fine-tuning of Qwen2 models and what it does to zero-shot and few-shot accuracy."""
