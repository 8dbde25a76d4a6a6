"""JSON of files, rows and prompts is read in one way, which takes deep nesting for what it is: no JSON."""

from __future__ import annotations

import ast

from tests.contract.sources import modules, tree

OTHERS = {
    "visible": "the one way itself",
    "metrics.answers": "with numbers of its own",
    "data.files.json_lines": "a row of JSON Lines, whose place in the line is reported",
    "data.files.json_documents": "a document, whose place is reported",
    "data.chat.calls": "a value that ends somewhere in an answer",
    "serve.job_objects": "what Burnish has just written",
    "runs.partial": "what Burnish has just written",
    "data.tokens.file_column": "what Burnish has just written",
    "selftest.process_rules": "what Burnish has just written",
    "jobs.together": "what Burnish has just written",
    "methods.adapter": "what PEFT has just written",
    "export.gguf.vocabulary": "what a loaded tokenizer says of itself",
    "models.tokenizer": "what a loaded tokenizer says of itself",
    "data.tokens.byte_pairs": "what a loaded tokenizer says of itself",
    "prepare.encode": "the head of a file of Burnish's cache",
    "workflows.predict": "lines that Burnish has written",
    "inference.llama_cpp": "the answer of a server on this machine",
}


def test_other_ways_are_known() -> None:
    found = {
        name
        for name, path in modules().items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("load", "loads", "JSONDecoder")
        and isinstance(node.value, ast.Name)
        and node.value.id == "json"
    }
    assert {name.removeprefix("burnish.") for name in found} == set(OTHERS)
