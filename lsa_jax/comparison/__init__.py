"""The paper's second experiment: what of its picture is left in transformers of several layers, heads and with softmax."""
