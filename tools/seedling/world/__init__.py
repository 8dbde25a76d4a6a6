"""The small invented world behind the seedling corpus: its words, grammar, people and genres."""
